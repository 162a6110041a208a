// Command hello is what the test kit builds to test building.
package main

import "fmt"

func main() { fmt.Println("hello") }
