package gpu

import (
	"errors"
	"testing"
)

func TestStatus(t *testing.T) {
	d := &fakeDriver{}
	d.gpus = []*fakeGPU{{drv: d, id: "GPU-a"}, {drv: d, id: "GPU-b"}}
	visible := "1"
	s, err := openStatus(Config{Visible: &visible}, d)
	if err != nil {
		t.Fatal(err)
	}
	got := s.Read()
	if len(got) != 1 || got[0].Index != 1 || got[0].Utilization == nil || got[0].Temperature == nil {
		t.Errorf("%+v", got)
	}
	if _, err := openStatus(Config{}, &fakeDriver{initErr: errors.New("no driver")}); err == nil {
		t.Error("no error without a driver")
	}
}
