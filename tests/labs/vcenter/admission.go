// Copyright (c) 2026 the foresight.migration contributors
// GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

package main

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// guarantee is an amount of CPU and memory that is reserved.
type guarantee struct{ mhz, mib int64 }

func (g guarantee) plus(other guarantee) guarantee {
	return guarantee{g.mhz + other.mhz, g.mib + other.mib}
}

func (g guarantee) minus(other guarantee) guarantee {
	return guarantee{g.mhz - other.mhz, g.mib - other.mib}
}

// fits returns the fault by which vCenter says that a request is larger than what is left.
func (g guarantee) fits(left guarantee) types.BaseMethodFault {
	if g.mhz > left.mhz {
		return &types.InsufficientCpuResourcesFault{Unreserved: left.mhz, Requested: g.mhz}
	}
	if g.mib > left.mib {
		return &types.InsufficientMemoryResourcesFault{Unreserved: left.mib << 20, Requested: g.mib << 20}
	}
	return nil
}

func reserved(cpu, memory *types.ResourceAllocationInfo) guarantee {
	var g guarantee
	if cpu != nil && cpu.Reservation != nil {
		g.mhz = *cpu.Reservation
	}
	if memory != nil && memory.Reservation != nil {
		g.mib = *memory.Reservation
	}
	return g
}

func ofMachine(vm *simulator.VirtualMachine) guarantee {
	return reserved(vm.Config.CpuAllocation, vm.Config.MemoryAllocation)
}

func ofPool(p *mo.ResourcePool) guarantee {
	return reserved(&p.Config.CpuAllocation, &p.Config.MemoryAllocation)
}

func poolAt(ctx *simulator.Context, ref types.ManagedObjectReference) *mo.ResourcePool {
	switch p := ctx.Map.Get(ref).(type) {
	case *simulator.ResourcePool:
		return &p.ResourcePool
	case *simulator.VirtualApp:
		return &p.ResourcePool
	}
	return nil
}

func isRoot(p *mo.ResourcePool) bool { return p.Parent == nil || p.Parent.Type != "ResourcePool" }

// left returns what a pool can still guarantee: its own reservation, or for a root pool what its hosts have, less
// what its children and machines were given. One machine may be left out of the account.
func left(ctx *simulator.Context, p *mo.ResourcePool, without *types.ManagedObjectReference) guarantee {
	total := ofPool(p)
	if isRoot(p) {
		total = ofHosts(ctx, p.Owner)
	}
	for _, ref := range p.ResourcePool {
		if child := poolAt(ctx, ref); child != nil {
			total = total.minus(ofPool(child))
		}
	}
	for _, ref := range p.Vm {
		if vm, ok := ctx.Map.Get(ref).(*simulator.VirtualMachine); ok && (without == nil || ref != *without) {
			total = total.minus(ofMachine(vm))
		}
	}
	return total
}

func ofHosts(ctx *simulator.Context, owner types.ManagedObjectReference) guarantee {
	var total guarantee
	for _, host := range hostsOf(ctx.Map) {
		if host.Parent != nil && *host.Parent == owner && !host.Runtime.InMaintenanceMode {
			total = total.plus(ofHost(host))
		}
	}
	return total
}

func ofHost(host *simulator.HostSystem) guarantee {
	hardware := host.Summary.Hardware
	return guarantee{int64(hardware.CpuMhz) * int64(hardware.NumCpuCores), hardware.MemorySize >> 20}
}

// grant says whether a pool can guarantee so much more; an expandable pool asks its parent for what it lacks.
func grant(ctx *simulator.Context, p *mo.ResourcePool, wanted guarantee, without *types.ManagedObjectReference) types.BaseMethodFault {
	room := left(ctx, p, without)
	fault := wanted.fits(room)
	expandable := p.Config.CpuAllocation.ExpandableReservation
	if fault == nil || isRoot(p) || expandable == nil || !*expandable {
		return fault
	}
	lacking := guarantee{max(0, wanted.mhz-max(0, room.mhz)), max(0, wanted.mib-max(0, room.mib))}
	return grant(ctx, poolAt(ctx, *p.Parent), lacking, without)
}

// admit says whether a machine's own guarantee fits the host and the pool that it comes to.
func (l *lab) admit(ctx *simulator.Context, vm *simulator.VirtualMachine, host *simulator.HostSystem, into *types.ManagedObjectReference) types.BaseMethodFault {
	room := ofHost(host)
	for _, ref := range host.Vm {
		if other, ok := ctx.Map.Get(ref).(*simulator.VirtualMachine); ok && ref != vm.Self {
			room = room.minus(ofMachine(other))
		}
	}
	if fault := ofMachine(vm).fits(room); fault != nil {
		return fault
	}
	if into == nil {
		into = vm.ResourcePool
	}
	return grant(ctx, poolAt(ctx, *into), ofMachine(vm), &vm.Self)
}

func (m *machine) ReconfigVMTask(ctx *simulator.Context, req *types.ReconfigVM_Task) soap.HasFault {
	for _, allocation := range []*types.ResourceAllocationInfo{req.Spec.CpuAllocation, req.Spec.MemoryAllocation} {
		if allocation != nil && allocation.OverheadLimit != nil { // vCenter's own: it fails whoever sets it
			return refuse(&types.InvalidArgument{InvalidProperty: "overheadLimit"})
		}
	}
	if m.lab.admission {
		wanted := reserved(req.Spec.CpuAllocation, req.Spec.MemoryAllocation)
		if fault := grant(ctx, poolAt(ctx, *m.ResourcePool), wanted, &m.Self); fault != nil {
			return refuse(fault)
		}
	}
	m.lab.mu.Lock()
	forgetful := m.lab.forgetful
	m.lab.mu.Unlock()
	if forgetful {
		req.Spec = types.VirtualMachineConfigSpec{}
	}
	return m.VirtualMachine.ReconfigVMTask(ctx, req)
}

// pool is a resource pool that gives away no more than it has.
type pool struct {
	*simulator.ResourcePool
	lab *lab
}

func (p *pool) CreateResourcePool(ctx *simulator.Context, req *types.CreateResourcePool) soap.HasFault {
	if p.lab.admission {
		wanted := reserved(&req.Spec.CpuAllocation, &req.Spec.MemoryAllocation)
		if fault := grant(ctx, poolAt(ctx, p.Self), wanted, nil); fault != nil {
			return refuse(fault)
		}
	}
	return p.ResourcePool.CreateResourcePool(ctx, req)
}

func (p *pool) UpdateConfig(ctx *simulator.Context, req *types.UpdateConfig) soap.HasFault {
	if own := poolAt(ctx, p.Self); p.lab.admission && req.Config != nil && !isRoot(own) {
		more := reserved(&req.Config.CpuAllocation, &req.Config.MemoryAllocation).minus(ofPool(own))
		if fault := grant(ctx, poolAt(ctx, *own.Parent), more, nil); fault != nil {
			return refuse(fault)
		}
	}
	return p.ResourcePool.UpdateConfig(ctx, req)
}
