package ab

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/vobs/vobs/sampler/gpu"
)

const (
	// settleLimit is how long GPUs are waited for, and settleInterval how often they are read.
	settleLimit    = 10 * time.Minute
	settleInterval = time.Second
	// idleUtilization is the utilization up to which a GPU counts as idle.
	idleUtilization = 0.01
)

// Settle is what is waited for between two runs. The zero value waits for nothing.
type Settle struct {
	Pause   time.Duration
	Idle    bool // until all GPUs are idle
	Celsius int  // and at most as warm as this; 0: whatever their temperature
	// read returns the status of the GPUs.
	read func() []gpu.DeviceStatus
}

// ParseSettle reads a time as 5s, the word idle, or a temperature as 60C.
func ParseSettle(s string) (Settle, error) {
	if s == "" {
		return Settle{}, nil
	}
	if s == "idle" {
		return Settle{Idle: true}, nil
	}
	if number, ok := strings.CutSuffix(s, "C"); ok {
		if n, err := strconv.Atoi(number); err == nil && n > 0 && n < 150 {
			return Settle{Idle: true, Celsius: n}, nil
		}
	} else if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return Settle{Pause: d}, nil
	}
	return Settle{}, fmt.Errorf("%q: use a time as 5s, idle, or a temperature of the GPUs as 60C", s)
}

// Open prepares the reading of GPUs, those of cfg, if they are waited for.
func (s *Settle) Open(cfg gpu.Config) error {
	if !s.Idle {
		return nil
	}
	status, err := gpu.OpenStatus(cfg)
	if err != nil {
		return fmt.Errorf("the GPUs cannot be read: %w", err)
	}
	if len(status.Read()) == 0 {
		return errors.New("no GPU was found")
	}
	s.read = status.Read
	return nil
}

// wait waits, and reports what for. It returns ErrStopped if the context ends meanwhile.
func (s *Settle) wait(ctx context.Context, waiting func(why string)) error {
	if !s.Idle {
		if !pause(ctx, s.Pause) {
			return ErrStopped
		}
		return nil
	}
	deadline := time.Now().Add(settleLimit)
	for {
		read := make(chan string, 1)
		go func() { read <- s.unsettled(s.read()) }() // the driver may hang
		var why string
		select {
		case why = <-read:
		case <-ctx.Done():
			return ErrStopped
		case <-time.After(time.Until(deadline)):
			return fmt.Errorf("the driver did not respond within %v", settleLimit)
		}
		if why == "" {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the GPUs have not settled within %v: %s", settleLimit, why)
		}
		if waiting != nil {
			waiting(why)
			waiting = nil
		}
		if !pause(ctx, settleInterval) {
			return ErrStopped
		}
	}
}

// unsettled returns what is waited for, or "".
func (s *Settle) unsettled(devices []gpu.DeviceStatus) string {
	for _, d := range devices {
		if d.Utilization != nil && *d.Utilization > idleUtilization {
			return fmt.Sprintf("GPU %d is busy (%.0f %%)", d.Index, 100**d.Utilization)
		}
		if s.Celsius > 0 && d.Temperature != nil && *d.Temperature > s.Celsius {
			return fmt.Sprintf("GPU %d is at %d °C", d.Index, *d.Temperature)
		}
	}
	return ""
}
