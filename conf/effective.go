package conf

func hash(d *Document) string { return "" }
