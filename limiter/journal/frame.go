package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

const (
	magic     = "sluice lease 1\n"
	frameHead = 8
	// maxFrame bounds what is believed of a length; frames are far smaller.
	maxFrame = 64 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal fills in the head of a frame whose content begins at frameHead.
func seal(frame []byte) {
	content := frame[frameHead:]
	binary.LittleEndian.PutUint32(frame, uint32(len(content)))
	binary.LittleEndian.PutUint32(frame[4:], crc32.Checksum(content, castagnoli))
}

// errTorn is the end of a segment that was being written when its process or the
// machine ended.
var errTorn = errors.New("the last frame is incomplete")

// errNoSegment is a file that does not begin as a segment does.
var errNoSegment = errors.New("this is no lease file of a version that is known here")

// scan calls each with every frame of a segment. It stops at the first frame that
// is not whole: with errTorn when nothing follows it, else with an error that says
// where the damage is.
func scan(text []byte, each func(content []byte) error) error {
	if !bytes.HasPrefix(text, []byte(magic)) {
		if len(text) < len(magic) && bytes.HasPrefix([]byte(magic), text) {
			return errTorn
		}
		return errNoSegment
	}
	for at := len(magic); at < len(text); {
		rest := text[at:]
		if len(rest) < frameHead {
			return errTorn
		}
		n := int(binary.LittleEndian.Uint32(rest))
		// A crash leaves a part of the last frame, or zeros in place of a part of it.
		end := min(frameHead+n, len(rest))
		if n == 0 || n > maxFrame || frameHead+n > len(rest) || crc32.Checksum(rest[frameHead:end], castagnoli) != binary.LittleEndian.Uint32(rest[4:]) {
			if n <= maxFrame && (frameHead+n >= len(rest) || len(bytes.Trim(rest[end:], "\x00")) == 0) {
				return errTorn
			}
			return fmt.Errorf("damaged at byte %d; what follows is not used", at)
		}
		content := rest[frameHead:end]
		if err := each(content); err != nil {
			return fmt.Errorf("byte %d: %w", at, err)
		}
		at += frameHead + n
	}
	return nil
}

// writeAll writes b, or says why not.
func writeAll(w io.Writer, b []byte) error {
	n, err := w.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return err
}
