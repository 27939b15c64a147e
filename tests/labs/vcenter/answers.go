// Copyright (c) 2026 the foresight.migration contributors
// GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

package main

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// toCSV returns a metric in the format that PerfQuerySpec.format "csv" asks for.
func toCSV(metric *types.PerfEntityMetric) *types.PerfEntityMetricCSV {
	var info []string
	for _, sample := range metric.SampleInfo {
		info = append(info, strconv.Itoa(int(sample.Interval)), sample.Timestamp.Format(time.RFC3339))
	}
	csv := &types.PerfEntityMetricCSV{PerfEntityMetricBase: metric.PerfEntityMetricBase, SampleInfoCSV: strings.Join(info, ",")}
	for _, base := range metric.Value {
		series := base.(*types.PerfMetricIntSeries)
		values := make([]string, len(series.Value))
		for i, value := range series.Value {
			values[i] = strconv.FormatInt(value, 10)
		}
		csv.Value = append(csv.Value, types.PerfMetricSeriesCSV{PerfMetricSeries: series.PerfMetricSeries, Value: strings.Join(values, ",")})
	}
	return csv
}

// answer is what -compat holds a list of: for a VM and a host by name ("*": any), the faults a check reports.
type answer struct {
	VM       string   `json:"vm"`
	Host     string   `json:"host"`
	Errors   []string `json:"errors"`
	Warnings []string `json:"warnings"`
}

func loadAnswers(path string) ([]answer, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var answers []answer
	return answers, json.Unmarshal(text, &answers)
}

// checker is vCenter's provisioning checker with answers from the file.
type checker struct {
	*simulator.VmProvisioningChecker
	lab *lab
}

func (c *checker) QueryVMotionCompatibilityExTask(ctx *simulator.Context, req *types.QueryVMotionCompatibilityEx_Task) soap.HasFault {
	task := simulator.CreateTask(c.VmProvisioningChecker, "queryVMotionCompatibilityEx", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		var results []types.CheckResult
		for _, vm := range req.Vm {
			for _, host := range req.Host {
				results = append(results, c.check(ctx, vm, &host))
			}
		}
		return types.ArrayOfCheckResult{CheckResult: results}, nil
	})
	return &methods.QueryVMotionCompatibilityEx_TaskBody{
		Res: &types.QueryVMotionCompatibilityEx_TaskResponse{Returnval: task.Run(ctx)},
	}
}

func (c *checker) CheckRelocateTask(ctx *simulator.Context, req *types.CheckRelocate_Task) soap.HasFault {
	task := simulator.CreateTask(c.VmProvisioningChecker, "checkRelocate", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		result := c.check(ctx, req.Vm, req.Spec.Host)
		return types.ArrayOfCheckResult{CheckResult: []types.CheckResult{result}}, nil
	})
	return &methods.CheckRelocate_TaskBody{Res: &types.CheckRelocate_TaskResponse{Returnval: task.Run(ctx)}}
}

func (c *checker) check(ctx *simulator.Context, vm types.ManagedObjectReference, host *types.ManagedObjectReference) types.CheckResult {
	result := types.CheckResult{Vm: &vm, Host: host}
	for _, a := range c.lab.answers {
		if matches(a.VM, ctx, &vm) && matches(a.Host, ctx, host) {
			result.Error = append(result.Error, localised(a.Errors)...)
			result.Warning = append(result.Warning, localised(a.Warnings)...)
		}
	}
	return result
}

func matches(name string, ctx *simulator.Context, ref *types.ManagedObjectReference) bool {
	if name == "*" || ref == nil {
		return name == "*"
	}
	entity, ok := ctx.Map.Get(*ref).(mo.Entity)
	return ok && entity.Entity().Name == name
}

func localised(names []string) []types.LocalizedMethodFault {
	var faults []types.LocalizedMethodFault
	for _, name := range names {
		faults = append(faults, types.LocalizedMethodFault{Fault: newFault(name), LocalizedMessage: "lab: " + name})
	}
	return faults
}
