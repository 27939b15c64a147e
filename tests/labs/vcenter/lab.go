// Copyright (c) 2026 the foresight.migration contributors
// GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

package main

import (
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// rule makes a method fail: after skip good calls, count times (0: for ever). expire ends the caller's session first.
type rule struct {
	Method string `json:"method"`
	Fault  string `json:"fault"`
	Skip   int    `json:"skip"`
	Count  int    `json:"count"`
	Expire bool   `json:"expire"`
}

// failure makes relocations fail with a fault when their progress passes a percentage.
type failure struct {
	Fault   string `json:"fault"`
	Percent int    `json:"percent"`
}

// lab is what the tests add to the simulator.
type lab struct {
	ctx       *simulator.Context
	admission bool
	perf      *perfSeries
	answers   []answer

	mu         sync.Mutex
	requests   map[string]int
	rules      []*rule
	relocateMs int
	failure    *failure
	forgetful  bool // changes of machines succeed and change nothing
	running    map[types.ManagedObjectReference]*relocation
}

// extend puts the lab between the simulator's clients and its objects.
func extend(model *simulator.Model, o options) (*lab, error) {
	l := &lab{
		ctx:        model.Service.Context,
		admission:  o.admission,
		requests:   map[string]int{},
		relocateMs: o.relocateMs,
		running:    map[types.ManagedObjectReference]*relocation{},
	}
	var err error
	if l.perf, err = loadPerf(o.perf, o.newestFirst); err != nil {
		return nil, err
	}
	if l.answers, err = loadAnswers(o.compat); err != nil {
		return nil, err
	}
	for _, host := range hostsOf(l.ctx.Map) {
		equip(host, o)
	}
	for _, entity := range l.ctx.Map.All("ClusterComputeResource") {
		ask(entity.(*simulator.ClusterComputeResource))
	}
	for _, vm := range machinesOf(l.ctx.Map) {
		eject(vm)
	}
	if o.evacuateMs > 0 {
		simulator.TaskDelay.MethodDelay = map[string]int{"EnterMaintenanceMode": o.evacuateMs, "LockHandoff": 0}
	}
	l.ctx.Map.Handler = l.handle
	return l, nil
}

// equip gives a host the size that the flags ask for; stock hosts are too small to fill and have no vMotion.
func equip(host *simulator.HostSystem, o options) {
	hardware := host.Summary.Hardware
	hardware.NumCpuCores, hardware.NumCpuThreads = clampInt16(o.hostCores), clampInt16(2*o.hostCores)
	hardware.CpuMhz = int32(o.hostMhz)
	hardware.MemorySize = int64(o.hostMib) << 20
	host.Summary.Config.VmotionEnabled = true
}

// ask makes DRS recommend rather than move, as whoever moves VMs by other means has to.
func ask(cluster *simulator.ClusterComputeResource) {
	if config, ok := cluster.ConfigurationEx.(*types.ClusterConfigInfoEx); ok {
		config.DrsConfig.DefaultVmBehavior = types.DrsBehaviorManual
	}
}

// eject disconnects the host's drive, with which stock machines start and could not be moved.
func eject(vm *simulator.VirtualMachine) {
	for _, device := range vm.Config.Hardware.Device {
		if cdrom, ok := device.(*types.VirtualCdrom); ok && cdrom.Connectable != nil {
			cdrom.Connectable.Connected = false
		}
	}
}

// handle sees every call before the object does. Where the lab has an object of its own, it puts that into the
// caller's session, which the simulator asks before the registry; the registry must keep its own types.
func (l *lab) handle(ctx *simulator.Context, m *simulator.Method) (mo.Reference, types.BaseMethodFault) {
	l.mu.Lock()
	l.requests[m.Name]++
	due := l.due(m.Name)
	l.mu.Unlock()
	if due != nil {
		if due.Expire {
			expire(ctx)
			return nil, &types.NotAuthenticated{}
		}
		return nil, newFault(due.Fault)
	}
	if own := l.object(ctx, m); own != nil && ctx.Session != nil {
		ctx.Session.Registry.Put(own)
	}
	return nil, nil
}

// due returns the rule that makes this call fail, if any. The lock must be held.
func (l *lab) due(method string) *rule {
	for _, r := range l.rules {
		if r.Method != method {
			continue
		}
		if r.Skip > 0 {
			r.Skip--
			continue
		}
		if r.Count > 0 {
			if r.Count--; r.Count == 0 {
				r.Method = "" // spent
			}
		}
		return r
	}
	return nil
}

func (l *lab) object(ctx *simulator.Context, m *simulator.Method) mo.Reference {
	switch own := ctx.Map.Get(m.This).(type) {
	case *simulator.PerformanceManager:
		if l.perf != nil {
			return &perfManager{own, l}
		}
	case *simulator.VirtualMachine:
		return &machine{own, l}
	case *simulator.ResourcePool:
		return &pool{own, l}
	case *simulator.VmProvisioningChecker:
		return &checker{own, l}
	case *simulator.Task:
		if move := l.relocationOf(m.This); move != nil {
			return &cancellable{own, move}
		}
	}
	return nil
}

// expire ends the session of the call that is being served.
func expire(ctx *simulator.Context) {
	if ctx.Session == nil {
		return
	}
	other := &simulator.Context{Map: ctx.Map, Session: &simulator.Session{}}
	ctx.Map.SessionManager().TerminateSession(other, &types.TerminateSession{SessionId: []string{ctx.Session.Key}})
}

// newFault returns a fault of the named type, or NotSupported when vCenter has no such type.
func newFault(name string) types.BaseMethodFault {
	if fault, ok := newData(name).(types.BaseMethodFault); ok {
		return fault
	}
	return &types.NotSupported{}
}

var _ soap.HasFault = (*refusal)(nil)

// refusal is an answer that consists of a fault only.
type refusal struct {
	Reason *soap.Fault `xml:"http://schemas.xmlsoap.org/soap/envelope/ Fault,omitempty"`
}

func (r *refusal) Fault() *soap.Fault { return r.Reason }

func refuse(fault types.BaseMethodFault) soap.HasFault {
	return &refusal{Reason: simulator.Fault("refused by the lab", fault)}
}
