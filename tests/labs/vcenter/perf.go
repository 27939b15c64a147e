// Copyright (c) 2026 the foresight.migration contributors
// GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

package main

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// perfSeries is what -perf holds: entity name ("*": every other one) -> counter name -> values. The value of a
// series at Unix time t is values[(t / interval_s) mod len(values)]; a longer interval shows the mean of its part.
// A counter called "name@instance" is that of one device, answered to whoever asks for the instance "*".
type perfSeries struct {
	IntervalS int64                         `json:"interval_s"`
	Series    map[string]map[string][]int64 `json:"series"`

	newestFirst bool
}

func loadPerf(path string, newestFirst bool) (*perfSeries, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p := &perfSeries{newestFirst: newestFirst}
	return p, json.Unmarshal(text, p)
}

// mean returns the value of a series over the interval that ends at a time.
func (p *perfSeries) mean(values []int64, end time.Time, seconds int64) int64 {
	first, last := (end.Unix()-seconds)/p.IntervalS, (end.Unix()-1)/p.IntervalS
	var sum int64
	for i := first; i <= last; i++ {
		sum += values[i%int64(len(values))]
	}
	return sum / (last - first + 1)
}

type perfManager struct {
	*simulator.PerformanceManager
	lab *lab
}

func (p *perfManager) QueryPerf(ctx *simulator.Context, req *types.QueryPerf) soap.HasFault {
	names := map[int32]string{}
	for _, c := range p.PerfCounter {
		names[c.Key] = c.GroupInfo.GetElementDescription().Key + "." + c.NameInfo.GetElementDescription().Key + "." + string(c.RollupType)
	}
	body := &methods.QueryPerfBody{Res: new(types.QueryPerfResponse)}
	for _, query := range req.QuerySpec {
		entity, ok := ctx.Map.Get(query.Entity).(mo.Entity)
		if !ok {
			return refuse(&types.ManagedObjectNotFound{Obj: query.Entity})
		}
		body.Res.Returnval = append(body.Res.Returnval, p.lab.perf.answer(query, entity.Entity().Name, names))
	}
	return body
}

// answer follows vCenter: the samples after the start and not after the end, no series where there are no values.
func (p *perfSeries) answer(query types.PerfQuerySpec, name string, names map[int32]string) types.BasePerfEntityMetricBase {
	interval := int64(max(query.IntervalId, 20))
	times := sampleTimes(query, interval)
	if p.newestFirst {
		slices.Reverse(times)
	}
	metric := &types.PerfEntityMetric{PerfEntityMetricBase: types.PerfEntityMetricBase{Entity: query.Entity}}
	for _, at := range times {
		metric.SampleInfo = append(metric.SampleInfo, types.PerfSampleInfo{Timestamp: at, Interval: int32(interval)})
	}
	known, ok := p.Series[name]
	if !ok {
		known = p.Series["*"]
	}
	for _, id := range query.MetricId {
		for name, values := range known {
			counter, instance, ofDevice := strings.Cut(name, "@")
			if counter != names[id.CounterId] || len(values) == 0 || ofDevice != (id.Instance == "*") {
				continue
			}
			wanted := types.PerfMetricId{CounterId: id.CounterId, Instance: instance}
			series := &types.PerfMetricIntSeries{PerfMetricSeries: types.PerfMetricSeries{Id: wanted}}
			for _, at := range times {
				series.Value = append(series.Value, p.mean(values, at, interval))
			}
			metric.Value = append(metric.Value, series)
		}
	}
	if query.Format == string(types.PerfFormatCsv) {
		return toCSV(metric)
	}
	return metric
}

func sampleTimes(query types.PerfQuerySpec, interval int64) []time.Time {
	end := time.Now()
	if query.EndTime != nil && query.EndTime.Before(end) {
		end = *query.EndTime
	}
	start := end.Add(-time.Hour)
	if query.StartTime != nil {
		start = *query.StartTime
	}
	var times []time.Time
	for at := (start.Unix()/interval + 1) * interval; at <= end.Unix(); at += interval {
		times = append(times, time.Unix(at, 0).UTC())
	}
	most := int(query.MaxSample)
	if most == 0 || len(times) <= most {
		return times
	}
	if query.StartTime != nil { // the API promises the most recent ones only where no time range is given
		return times[:most]
	}
	return times[len(times)-most:]
}
