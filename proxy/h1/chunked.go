package h1

import (
	"bytes"
	"io"
)

const (
	// chunkLineBytes bounds a chunk-size line with its extensions, which nobody uses.
	chunkLineBytes = 256
	// chunkDigits are the hexadecimal digits of a chunk size at most: what fits in an int64.
	chunkDigits = 15
	// chunkOverheadFree is the overhead that each chunk may have whatever its
	// size, and chunkOverheadMost how much more may add up. "1;extension…" for
	// each single byte would otherwise cost this side far more than the data is worth,
	// while one-byte chunks without extensions (6 bytes each) are an honest stream.
	chunkOverheadFree = 16
	chunkOverheadMost = 16 << 10
)

// chunkStage is what stands next in a chunked body.
type chunkStage uint8

const (
	stageSize    chunkStage = iota // a chunk-size line
	stageData                      // bytes of the chunk
	stageEnd                       // the CRLF behind them
	stageTrailer                   // the trailer section, or the empty line instead of one
)

// chunkState is how far the decoding of a chunked body (RFC 9112 §7.1) has come.
type chunkState struct {
	stage    chunkStage
	overhead int64 // bytes spent on framing beyond what was granted
	scanned  int   // how far the line or section under way has been looked at
	section  headScan
}

// readChunks decodes into p. It waits for the connection only while it has
// nothing to return.
func (b *Body) readChunks(p []byte) (n int, err error) {
	for {
		if b.chunks.stage == stageData {
			if n == len(p) {
				return n, nil
			}
			if n > 0 && len(b.r.Buffered()) == 0 {
				return n, nil
			}
			k, err := b.readPart(p[n:])
			n += k
			if err != nil {
				return n, err
			}
			if b.remaining == 0 {
				b.chunks.stage = stageEnd
			}
			continue
		}
		done, err := b.framing()
		if done {
			return n, io.EOF
		}
		if err == errMore {
			if n > 0 {
				return n, nil
			}
			err = b.r.Fill()
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
		}
		if err != nil {
			return n, err
		}
	}
}

// errMore says that the buffer does not hold the whole of what stands next.
var errMore = bad("more input is needed")

// framing decodes the next piece that is not data, from what is buffered.
// done is true when the body is complete.
func (b *Body) framing() (done bool, err error) {
	buf := b.r.Buffered()
	switch b.chunks.stage {
	case stageSize:
		line, n, err := b.chunkLine(buf)
		if err != nil {
			return false, err
		}
		size, err := chunkSize(line)
		if err != nil {
			return false, err
		}
		if b.chunks.overhead += int64(n) + 2 - chunkOverheadFree - 2*size; b.chunks.overhead < 0 {
			b.chunks.overhead = 0
		}
		if b.chunks.overhead > chunkOverheadMost {
			return false, errChunkOverhead
		}
		b.r.Discard(n)
		b.chunks.scanned = 0
		b.remaining = size
		b.chunks.stage = stageData
		if size == 0 {
			b.chunks.stage = stageTrailer
		}

	case stageEnd:
		if len(buf) > 0 && buf[0] != '\r' || len(buf) > 1 && buf[1] != '\n' {
			return false, errChunkEnd
		}
		if len(buf) < 2 {
			return false, errMore
		}
		b.r.Discard(2)
		b.chunks.stage = stageSize

	case stageTrailer:
		return b.readTrailer(buf)

	case stageData:
	}
	return false, nil
}

// chunkLine returns the chunk-size line that buf begins with, without its line
// end, and how long it is with it.
func (b *Body) chunkLine(buf []byte) (line []byte, n int, err error) {
	i := bytes.IndexByte(buf[b.chunks.scanned:], '\n')
	if i < 0 {
		if len(buf) >= chunkLineBytes {
			return nil, 0, errChunkLineLong
		}
		b.chunks.scanned = len(buf)
		return nil, 0, errMore
	}
	lf := b.chunks.scanned + i
	switch {
	case lf >= chunkLineBytes:
		return nil, 0, errChunkLineLong
	case lf == 0 || buf[lf-1] != '\r':
		return nil, 0, errBareLF
	}
	return buf[:lf-1], lf + 1, nil
}

// chunkSize reads a chunk-size line: hexadecimal digits, then perhaps
// extensions, which are checked for what cannot stand in them and passed over.
func chunkSize(line []byte) (int64, error) {
	var size int64
	digits := 0
	for digits < len(line) && classes[line[digits]]&classHex != 0 {
		if digits == chunkDigits {
			return 0, errChunkSizeLarge
		}
		size = size<<4 | int64(hexValue(line[digits]))
		digits++
	}
	if digits == 0 {
		return 0, errChunkSize
	}
	extension := line[digits:]
	if len(extension) == 0 {
		return size, nil
	}
	// BWS before the semicolon (§7.1.1); without one, whitespace has no place here.
	extension = trimOWS(extension)
	if len(extension) == 0 || extension[0] != ';' {
		return 0, errChunkSize
	}
	if !validValue(extension) {
		return 0, errChunkExtension
	}
	return size, nil
}

func hexValue(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

// readTrailer takes the end of the body off buf: an empty line, or fields and one.
func (b *Body) readTrailer(buf []byte) (done bool, err error) {
	if len(buf) >= 2 && string(buf[:2]) == crlf {
		b.r.Discard(2)
		return true, nil
	}
	if len(buf) < 2 {
		if len(buf) == 1 && buf[0] == '\n' {
			return false, errBareLF
		}
		return false, errMore
	}
	end, err := b.chunks.section.scan(buf, b.limits.trailerBytes(), false)
	switch {
	case err == errHeadTooLarge:
		return false, errTrailerTooLarge
	case err != nil:
		return false, err
	case end == 0:
		return false, errMore
	}
	if b.fields.Header == nil {
		b.fields.Reset()
	}
	if err := b.fields.scan(buf[:end], 0, b.limits.fields()); err != nil {
		return false, err
	}
	b.fields.fill(string(buf[:end]))
	b.r.Discard(end)
	b.trailer = b.fields.Header
	for name := range b.trailer {
		if !TrailerAllowed(name) {
			delete(b.trailer, name)
		}
	}
	return true, nil
}
