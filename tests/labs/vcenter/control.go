// Copyright (c) 2026 the foresight.migration contributors
// GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// newData returns a pointer to a new value of a vSphere type, or nil.
func newData(name string) any {
	kind, ok := types.TypeFunc()(name)
	if !ok {
		return nil
	}
	return reflect.New(kind).Interface()
}

// controlMux serves the tests: what was called, what shall fail, and properties that vCenter lets nobody set.
func (l *lab) controlMux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /requests", func(w http.ResponseWriter, _ *http.Request) {
		l.mu.Lock()
		defer l.mu.Unlock()
		_ = json.NewEncoder(w).Encode(l.requests)
	})
	mux.HandleFunc("POST /requests/reset", l.locked(func(*json.Decoder) error {
		clear(l.requests)
		return nil
	}))
	mux.HandleFunc("POST /rules", l.locked(func(body *json.Decoder) error {
		l.rules = nil
		return body.Decode(&l.rules)
	}))
	mux.HandleFunc("POST /relocate", l.locked(func(body *json.Decoder) error {
		wanted := struct {
			Ms      int      `json:"ms"`
			Failure *failure `json:"failure"`
		}{Ms: l.relocateMs}
		err := body.Decode(&wanted)
		l.relocateMs, l.failure = wanted.Ms, wanted.Failure
		return err
	}))
	mux.HandleFunc("POST /forgetful", l.locked(func(body *json.Decoder) error { return body.Decode(&l.forgetful) }))
	mux.HandleFunc("POST /set", l.locked(l.setProperty))
	mux.HandleFunc("POST /move", l.locked(l.moveByDRS))
	return mux
}

// locked answers 204 when the command succeeds and 400 with the reason when it does not.
func (l *lab) locked(command func(*json.Decoder) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if err := command(json.NewDecoder(r.Body)); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

// setProperty sets one property of one object: {"type", "id", "path": "summary.quickStats.overallCpuUsage", "value"}.
func (l *lab) setProperty(body *json.Decoder) error {
	var wanted struct {
		Type  string          `json:"type"`
		ID    string          `json:"id"`
		Path  string          `json:"path"`
		Value json.RawMessage `json:"value"`
	}
	if err := body.Decode(&wanted); err != nil {
		return err
	}
	object := l.ctx.Map.Get(types.ManagedObjectReference{Type: wanted.Type, Value: wanted.ID})
	if object == nil {
		return fmt.Errorf("no %s %s", wanted.Type, wanted.ID)
	}
	var err error
	l.ctx.WithLock(object, func() {
		var field reflect.Value
		if field, err = fieldAt(managed(object), wanted.Path); err == nil {
			err = json.Unmarshal(wanted.Value, field.Addr().Interface())
		}
	})
	return err
}

// managed returns the simulator object's own struct of package mo, which is its first field.
func managed(object mo.Reference) reflect.Value {
	return reflect.ValueOf(object).Elem().Field(0)
}

// fieldAt follows a property path by the JSON names of the fields.
func fieldAt(value reflect.Value, path string) (reflect.Value, error) {
	for _, name := range strings.Split(path, ".") {
		if value.Kind() == reflect.Pointer {
			if value.IsNil() {
				value.Set(reflect.New(value.Type().Elem()))
			}
			value = value.Elem()
		}
		if value.Kind() == reflect.Interface { // such as a BaseDVSConfigInfo, which holds a pointer
			value = value.Elem().Elem()
		}
		field, ok := fieldNamed(value, name)
		if !ok {
			return value, fmt.Errorf("%s has no property %s", value.Type(), name)
		}
		value = field
	}
	return value, nil
}

func fieldNamed(value reflect.Value, name string) (reflect.Value, bool) {
	if value.Kind() != reflect.Struct {
		return value, false
	}
	for i := range value.NumField() {
		field := value.Type().Field(i)
		if field.Anonymous {
			if found, ok := fieldNamed(value.Field(i), name); ok {
				return found, true
			}
		}
		if tag, _, _ := strings.Cut(field.Tag.Get("json"), ","); tag == name {
			return value.Field(i), true
		}
	}
	return value, false
}

// moveByDRS moves a machine at once and without a task of the caller's, as DRS would: {"vm": id, "host": id}.
func (l *lab) moveByDRS(body *json.Decoder) error {
	var wanted struct{ VM, Host string }
	if err := body.Decode(&wanted); err != nil {
		return err
	}
	vm, _ := l.ctx.Map.Get(types.ManagedObjectReference{Type: "VirtualMachine", Value: wanted.VM}).(*simulator.VirtualMachine)
	host := types.ManagedObjectReference{Type: "HostSystem", Value: wanted.Host}
	if vm == nil || l.ctx.Map.Get(host) == nil {
		return fmt.Errorf("no VM %s or no host %s", wanted.VM, wanted.Host)
	}
	place(l.ctx, vm, &host, nil)
	return nil
}
