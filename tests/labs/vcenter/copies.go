// Copyright (c) 2026 the foresight.migration contributors
// GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// machinesOf returns the virtual machines of the registry, sorted by name.
func machinesOf(r *simulator.Registry) []*simulator.VirtualMachine {
	var found []*simulator.VirtualMachine
	for _, entity := range r.All("VirtualMachine") {
		found = append(found, entity.(*simulator.VirtualMachine))
	}
	slices.SortFunc(found, func(a, b *simulator.VirtualMachine) int { return strings.Compare(a.Name, b.Name) })
	return found
}

// hostsOf returns the hosts of the registry, sorted by name.
func hostsOf(r *simulator.Registry) []*simulator.HostSystem {
	var found []*simulator.HostSystem
	for _, entity := range r.All("HostSystem") {
		found = append(found, entity.(*simulator.HostSystem))
	}
	slices.SortFunc(found, func(a, b *simulator.HostSystem) int { return strings.Compare(a.Name, b.Name) })
	return found
}

// copyMachines adds count virtual machines like the first ones, in memory: creating them by tasks takes 40 ms each.
func copyMachines(ctx *simulator.Context, count int) error {
	originals := machinesOf(ctx.Map)
	if count > 0 && len(originals) == 0 {
		return fmt.Errorf("there is no virtual machine to copy")
	}
	for i := range count {
		copyMachine(ctx, originals[i%len(originals)], i)
	}
	return nil
}

func copyMachine(ctx *simulator.Context, original *simulator.VirtualMachine, i int) {
	vm := *original
	config := *original.Config
	name := fmt.Sprintf("copy-%05d", i)
	id := uuid.NewSHA1(uuid.NameSpaceOID, []byte(name)).String()
	instance := uuid.NewSHA1(uuid.NameSpaceURL, []byte(name)).String()
	config.Name, config.Uuid, config.InstanceUuid = name, id, instance
	vm.Config, vm.Name, vm.RecentTask = &config, name, nil
	vm.Summary.Config.Name, vm.Summary.Config.Uuid, vm.Summary.Config.InstanceUuid = name, id, instance
	ctx.Map.PutEntity(parentOf(ctx, original), ctx.Map.NewEntity(&vm))
	vm.Summary.Vm = &vm.Self
	for _, ref := range []types.ManagedObjectReference{*vm.Parent, *vm.Runtime.Host, *vm.ResourcePool} {
		list := machineList(ctx.Map.Get(ref))
		*list = append(*list, vm.Self)
	}
}

func parentOf(ctx *simulator.Context, vm *simulator.VirtualMachine) mo.Entity {
	return ctx.Map.Get(*vm.Parent).(mo.Entity)
}

// machineList returns where a folder, host or pool keeps the references of its machines.
func machineList(owner mo.Reference) *[]types.ManagedObjectReference {
	switch o := owner.(type) {
	case *simulator.Folder:
		return &o.ChildEntity
	case *simulator.HostSystem:
		return &o.Vm
	case *simulator.ResourcePool:
		return &o.Vm
	case *simulator.VirtualApp:
		return &o.Vm
	}
	return new([]types.ManagedObjectReference)
}
