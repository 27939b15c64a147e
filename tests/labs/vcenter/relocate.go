// Copyright (c) 2026 the foresight.migration contributors
// GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

package main

import (
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// progressSteps is how often a relocation reports how far it is.
const progressSteps = 20

// relocation is a task that takes time, tells its progress and can be cancelled.
type relocation struct {
	once      sync.Once
	cancelled chan struct{}
}

func (l *lab) relocationOf(task types.ManagedObjectReference) *relocation {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.running[task]
}

// cancellable is a task whose cancellation the relocation itself completes, as vCenter's does.
type cancellable struct {
	*simulator.Task
	move *relocation
}

func (c *cancellable) CancelTask(ctx *simulator.Context, _ *types.CancelTask) soap.HasFault {
	if c.Info.State != types.TaskInfoStateRunning {
		return refuse(&types.InvalidState{})
	}
	c.move.once.Do(func() { close(c.move.cancelled) })
	ctx.Update(c.Task, []types.PropertyChange{{Name: "info.cancelled", Val: true}})
	return &methods.CancelTaskBody{Res: new(types.CancelTaskResponse)}
}

// machine is a virtual machine whose relocation behaves like vCenter's.
type machine struct {
	*simulator.VirtualMachine
	lab *lab
}

func (m *machine) RelocateVMTask(ctx *simulator.Context, req *types.RelocateVM_Task) soap.HasFault {
	target := req.Spec.Host
	if target == nil {
		target = m.Runtime.Host
	}
	task := simulator.CreateTask(m.VirtualMachine, "relocate", nil)
	task.Info.Cancelable = true
	l := m.lab
	l.mu.Lock()
	fail := l.failure
	l.mu.Unlock()
	ctx.Map.Put(task)
	move := &relocation{cancelled: make(chan struct{})}
	l.mu.Lock()
	l.running[task.Self] = move
	l.mu.Unlock()
	background := *ctx // locks belong to a context: the task must not share the caller's
	ctx.Update(task, []types.PropertyChange{
		{Name: "info.key", Val: task.Self.Value},
		{Name: "info.task", Val: task.Self},
		{Name: "info.state", Val: types.TaskInfoStateRunning},
		{Name: "info.startTime", Val: time.Now()},
		{Name: "info.progress", Val: int32(0)},
	})
	m.announce(&background, target)
	go func() {
		fault := l.run(&background, task, move, fail, func() types.BaseMethodFault {
			return l.move(&background, m.VirtualMachine, target, req.Spec.Pool, req.Spec.Datastore)
		})
		finish(&background, task, fault)
		l.mu.Lock()
		delete(l.running, task.Self)
		l.mu.Unlock()
	}()
	return &methods.RelocateVM_TaskBody{Res: &types.RelocateVM_TaskResponse{Returnval: task.Self}}
}

// announce posts the event by which vCenter says where a running move goes.
func (m *machine) announce(ctx *simulator.Context, target *types.ManagedObjectReference) {
	destination := ctx.Map.Get(*target).(mo.Entity).Entity().Name
	event := &types.VmBeingHotMigratedEvent{DestHost: types.HostEventArgument{Host: *target}}
	event.DestHost.Name = destination
	event.Vm = &types.VmEventArgument{Vm: m.Self}
	event.Vm.Name = m.Name
	manager := ctx.Map.EventManager()
	ctx.WithLock(manager, func() { manager.PostEvent(ctx, &types.PostEvent{EventToPost: event}) })
}

// stepTime is how long one step of a relocation takes now: those under way follow when it is changed.
func (l *lab) stepTime() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Duration(l.relocateMs) * time.Millisecond / progressSteps
}

func (l *lab) run(ctx *simulator.Context, task *simulator.Task, move *relocation, fail *failure,
	arrive func() types.BaseMethodFault) types.BaseMethodFault {
	for step := 1; step <= progressSteps; step++ {
		select {
		case <-move.cancelled:
			return &types.RequestCanceled{}
		case <-time.After(l.stepTime()):
		}
		percent := step * 100 / progressSteps
		if fail != nil && percent > fail.Percent {
			return newFault(fail.Fault)
		}
		ctx.Map.AtomicUpdate(ctx, task, []types.PropertyChange{{Name: "info.progress", Val: int32(percent)}})
	}
	return arrive()
}

func finish(ctx *simulator.Context, task *simulator.Task, fault types.BaseMethodFault) {
	changes := []types.PropertyChange{{Name: "info.completeTime", Val: time.Now()}}
	if fault == nil {
		changes = append(changes, types.PropertyChange{Name: "info.state", Val: types.TaskInfoStateSuccess})
	} else {
		changes = append(changes,
			types.PropertyChange{Name: "info.error", Val: &types.LocalizedMethodFault{Fault: fault, LocalizedMessage: "the lab says so"}},
			types.PropertyChange{Name: "info.state", Val: types.TaskInfoStateError})
	}
	ctx.Map.AtomicUpdate(ctx, task, changes)
}

// move checks what vCenter checks on arrival and then moves the machine.
func (l *lab) move(ctx *simulator.Context, vm *simulator.VirtualMachine, target, into, datastore *types.ManagedObjectReference) types.BaseMethodFault {
	host, ok := ctx.Map.Get(*target).(*simulator.HostSystem)
	if !ok {
		return &types.ManagedObjectNotFound{Obj: *target}
	}
	if host.Runtime.InMaintenanceMode || host.Runtime.ConnectionState != types.HostSystemConnectionStateConnected {
		return &types.InvalidHostState{Host: target}
	}
	if l.admission {
		if fault := l.admit(ctx, vm, host, into); fault != nil {
			return fault
		}
	}
	if datastore != nil {
		ctx.Map.AtomicUpdate(ctx, vm, []types.PropertyChange{{Name: "datastore", Val: []types.ManagedObjectReference{*datastore}}})
	}
	place(ctx, vm, target, into)
	return nil
}

// place puts a machine on a host and into a pool and keeps both sides of each relation right.
func place(ctx *simulator.Context, vm *simulator.VirtualMachine, host, into *types.ManagedObjectReference) {
	relink(ctx, *vm.Runtime.Host, *host, vm.Self)
	changes := []types.PropertyChange{
		{Name: "runtime.host", Val: host},
		{Name: "summary.runtime.host", Val: host},
	}
	if into != nil {
		relink(ctx, *vm.ResourcePool, *into, vm.Self)
		changes = append(changes, types.PropertyChange{Name: "resourcePool", Val: into})
	}
	ctx.Map.AtomicUpdate(ctx, vm, changes)
}

func relink(ctx *simulator.Context, from, to, vm types.ManagedObjectReference) {
	if owner := ctx.Map.Get(from); owner != nil {
		ctx.Map.RemoveReference(ctx, owner, machineList(owner), vm)
	}
	owner := ctx.Map.Get(to)
	ctx.Map.AddReference(ctx, owner, machineList(owner), vm)
}
