// Copyright (c) 2026 the foresight.migration contributors
// GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

// Command vcenter runs govmomi's vCenter simulator for the tests, stock or with what stock lacks.
//
// It prints one JSON line {"url", "control", "ca", "user", "password"} when it serves, and ends when its standard
// input is closed, so that it cannot outlive the test that started it.
package main

import (
	"encoding/json"
	"flag"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"github.com/vmware/govmomi/simulator"
)

type options struct {
	listen      string
	state       string
	esx         bool
	stock       bool
	datacenters int
	clusters    int
	hosts       int
	standalone  int
	machines    int
	pools       int
	copies      int
	save        string
	load        string
	delayMs     int
	jitter      float64
	hostCores   int
	hostMhz     int
	hostMib     int
	perf        string
	newestFirst bool
	admission   bool
	compat      string
	relocateMs  int
	evacuateMs  int
}

func parse() options {
	var o options
	flag.StringVar(&o.listen, "listen", "127.0.0.1:0", "address to serve on")
	flag.StringVar(&o.state, "state", ".", "folder for the CA's certificate")
	flag.BoolVar(&o.esx, "esx", false, "be a standalone ESXi host instead of a vCenter")
	flag.BoolVar(&o.stock, "stock", false, "add nothing to the simulator")
	flag.IntVar(&o.datacenters, "dc", 1, "datacenters")
	flag.IntVar(&o.clusters, "clusters", 1, "clusters per datacenter")
	flag.IntVar(&o.hosts, "hosts", 3, "hosts per cluster")
	flag.IntVar(&o.standalone, "standalone", 1, "hosts outside of clusters per datacenter")
	flag.IntVar(&o.machines, "machines", 2, "virtual machines per resource pool and standalone host")
	flag.IntVar(&o.pools, "pools", 0, "child resource pools per cluster")
	flag.IntVar(&o.copies, "copies", 0, "further virtual machines, copied in memory from the first ones")
	flag.StringVar(&o.save, "save", "", "folder to save the model to, in the format of govc object.save; then end")
	flag.StringVar(&o.load, "load", "", "folder to load the model from, of -save or of govc object.save on a real vCenter")
	flag.IntVar(&o.delayMs, "delay-ms", 0, "latency of every call")
	flag.Float64Var(&o.jitter, "jitter", 0, "coefficient of variation of the latency")
	flag.IntVar(&o.hostCores, "host-cores", 16, "cores of every host")
	flag.IntVar(&o.hostMhz, "host-mhz", 2500, "clock of every core")
	flag.IntVar(&o.hostMib, "host-mib", 131072, "memory of every host")
	flag.StringVar(&o.perf, "perf", "", "JSON file of performance series")
	flag.BoolVar(&o.newestFirst, "newest-first", false, "answer performance samples newest first")
	flag.BoolVar(&o.admission, "admission", false, "refuse reservations and moves that do not fit")
	flag.StringVar(&o.compat, "compat", "", "JSON file of answers to compatibility checks")
	flag.IntVar(&o.relocateMs, "relocate-ms", 200, "how long a relocation takes")
	flag.IntVar(&o.evacuateMs, "evacuate-ms", 0, "how long entering maintenance mode takes")
	flag.Parse()
	return o
}

func buildModel(o options) (*simulator.Model, error) {
	model := simulator.VPX()
	if o.esx {
		model = simulator.ESX()
	} else {
		model.Datacenter, model.Cluster, model.ClusterHost = o.datacenters, o.clusters, o.hosts
		model.Host, model.Pool = o.standalone, o.pools
	}
	model.Machine = o.machines
	if err := create(model, o.load); err != nil {
		return nil, err
	}
	model.DelayConfig.Delay, model.DelayConfig.DelayJitter = o.delayMs, o.jitter
	return model, nil
}

func create(model *simulator.Model, folder string) error {
	if folder != "" {
		return model.Load(folder)
	}
	return model.Create()
}

func main() {
	o := parse()
	model, err := buildModel(o)
	if err != nil {
		log.Fatal(err)
	}
	defer model.Remove()
	if err := copyMachines(model.Service.Context, o.copies); err != nil {
		log.Fatal(err)
	}
	control := ""
	if !o.stock {
		l, err := extend(model, o)
		if err != nil {
			log.Fatal(err)
		}
		control = serveControl(l)
	}
	ca := filepath.Join(o.state, "ca.pem")
	if model.Service.TLS, err = newTLS(ca); err != nil {
		log.Fatal(err)
	}
	login := url.UserPassword("administrator@vsphere.local", "s3cr3t-$(id)-'%<pass")
	model.Service.Listen = &url.URL{Host: o.listen, User: login}
	server := model.Service.NewServer()
	defer server.Close()
	if o.save != "" {
		if err := saveModel(server, model.Map(), o.save); err != nil {
			log.Fatal(err)
		}
		return
	}
	password, _ := login.Password()
	_ = json.NewEncoder(os.Stdout).Encode(map[string]string{
		"url": server.URL.Host, "control": control, "ca": ca, "user": login.Username(), "password": password,
	})
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// serveControl serves the tests' own commands on a second loopback port and returns its address.
func serveControl(l *lab) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(http.Serve(listener, l.controlMux())) }()
	return "http://" + listener.Addr().String()
}

func clampInt16(value int) int16 {
	return int16(min(value, math.MaxInt16))
}
