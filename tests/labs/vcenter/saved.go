// Copyright (c) 2026 the foresight.migration contributors
// GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vim25/xml"
)

// saveBatch is how many objects are asked for in one call.
const saveBatch = 500

// saveModel writes the objects of a served model into a folder, as `govc object.save` does with those of any vCenter:
// a file each, numbered, the service's own content first. simulator.Model.Load reads such a folder.
func saveModel(server *simulator.Server, r *simulator.Registry, folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	ctx := context.Background()
	client, err := govmomi.NewClient(ctx, server.URL, true)
	if err != nil {
		return err
	}
	defer func() { _ = client.Logout(ctx) }()
	collector := property.DefaultCollector(client.Client)
	var service []types.ObjectContent
	if err := collector.RetrieveOne(ctx, vim25.ServiceInstance, []string{"content"}, &service); err != nil {
		return err
	}
	if err := write(folder, 0, service[0]); err != nil {
		return err
	}
	references := append(mo.References(client.ServiceContent), entities(r)...)
	for start := 0; start < len(references); start += saveBatch {
		batch := references[start:min(start+saveBatch, len(references))]
		var found []types.ObjectContent
		if err := retrieve(ctx, collector, batch, &found); err != nil {
			return err
		}
		for i, object := range found {
			if err := write(folder, 1+start+i, object); err != nil {
				return err
			}
		}
	}
	return nil
}

// retrieve asks for all properties of objects of any type.
func retrieve(ctx context.Context, c *property.Collector, refs []types.ManagedObjectReference, found *[]types.ObjectContent) error {
	spec := types.PropertyFilterSpec{}
	kinds := map[string]bool{}
	for _, ref := range refs {
		spec.ObjectSet = append(spec.ObjectSet, types.ObjectSpec{Obj: ref})
		if !kinds[ref.Type] {
			kinds[ref.Type] = true
			spec.PropSet = append(spec.PropSet, types.PropertySpec{Type: ref.Type, All: types.NewBool(true)})
		}
	}
	answer, err := c.RetrieveProperties(ctx, types.RetrieveProperties{SpecSet: []types.PropertyFilterSpec{spec}})
	if err == nil {
		*found = answer.Returnval
	}
	return err
}

func entities(r *simulator.Registry) []types.ManagedObjectReference {
	var found []types.ManagedObjectReference
	for _, entity := range r.All("") {
		found = append(found, entity.Reference())
	}
	return found
}

func write(folder string, number int, object types.ObjectContent) error {
	object.MissingSet = nil
	text, err := xml.Marshal(object)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%06d-%s.xml", number, url.PathEscape(object.Obj.Encode()))
	return os.WriteFile(filepath.Join(folder, name), text, 0o600)
}
