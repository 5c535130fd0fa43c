package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"sync"
)

// Ledger is the file of lines, and the memory of what was written: delivery is at least once, a line comes once.
type Ledger struct {
	mutex sync.Mutex
	file  *os.File
	end   int64
	known map[key]bool
}

type key struct{ source, id string }

// OpenLedger reads what the file at path has, and goes on behind its last whole line.
func OpenLedger(path string) (*Ledger, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	ledger := &Ledger{file: file, known: map[key]bool{}}
	if err := ledger.read(); err != nil {
		file.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return ledger, nil
}

// Add writes the lines that are new and returns when they are on the disk.
func (ledger *Ledger) Add(lines []Line) error {
	ledger.mutex.Lock()
	defer ledger.mutex.Unlock()
	var fresh bytes.Buffer
	added := map[key]bool{}
	for _, line := range lines {
		name := key{line.Source, line.ID}
		if ledger.known[name] || added[name] {
			continue
		}
		if err := json.NewEncoder(&fresh).Encode(line); err != nil {
			return err
		}
		added[name] = true
	}
	if fresh.Len() == 0 {
		return nil
	}
	// At the known end: what a failed write left behind is overwritten by the next one.
	if _, err := ledger.file.WriteAt(fresh.Bytes(), ledger.end); err != nil {
		return err
	}
	if err := ledger.file.Sync(); err != nil {
		return err
	}
	ledger.end += int64(fresh.Len())
	for name := range added {
		ledger.known[name] = true
	}
	return nil
}

// Close ends writing.
func (ledger *Ledger) Close() error {
	ledger.mutex.Lock()
	defer ledger.mutex.Unlock()
	return ledger.file.Close()
}

func (ledger *Ledger) read() error {
	reader := bufio.NewReader(ledger.file)
	for {
		text, err := reader.ReadBytes('\n')
		if err != nil { // The end; a line that a crash cut off was never accepted, and comes again.
			return ledger.file.Truncate(ledger.end)
		}
		var line Line
		if err := json.Unmarshal(text, &line); err != nil {
			return fmt.Errorf("at byte %d: %w", ledger.end, err)
		}
		ledger.known[key{line.Source, line.ID}] = true
		ledger.end += int64(len(text))
	}
}
