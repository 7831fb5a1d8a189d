package gpu

// DeviceStatus is what a device does at one moment. For a MIG instance it is that of its GPU.
type DeviceStatus struct {
	Index       int
	Utilization *float64 // the fraction of time in which a kernel ran, as averaged by the driver; nil if unknown
	Temperature *int     // in degrees Celsius; nil if unknown
}

// Status reads devices now and then, without sampling them.
type Status struct {
	sampler *Sampler
}

// OpenStatus initializes NVML and determines the devices, by Visible and Devices of cfg. The
// calls of a driver may hang.
func OpenStatus(cfg Config) (*Status, error) { return openStatus(cfg, newDriver()) }

func openStatus(cfg Config, d driver) (*Status, error) {
	s := &Sampler{cfg: cfg, driver: d}
	if err := s.open(); err != nil {
		return nil, err
	}
	return &Status{s}, nil
}

// Read returns the status of each device.
func (s *Status) Read() []DeviceStatus {
	var out []DeviceStatus
	for _, d := range s.sampler.devices {
		status := DeviceStatus{Index: d.index}
		if x, err := d.gpu.utilization(); err == nil {
			status.Utilization = &x
		}
		if x, err := d.gpu.temperature(); err == nil {
			status.Temperature = &x
		}
		out = append(out, status)
	}
	return out
}
