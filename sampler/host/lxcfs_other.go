//go:build !linux

package host

import "github.com/vobs/vobs/schema"

func hostLoadAvg() (*schema.LoadAvg, bool) { return nil, false }
func hostMemory() (int64, bool)            { return 0, false }
func hostCPUs() (int, bool)                { return 0, false }
