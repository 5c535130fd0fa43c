// Command activity is a handler of CometChat events in Go: it writes one line for each event, once, to a file.
//
//	main.go     flags, gRPC server, health, graceful stop
//	handler.go  a batch of deliveries becomes an outcome for each
//	line.go     what a line says of an event, by its typed payload
//	ledger.go   the file of lines, which also knows what was written before
//	gen/        the contract, made by `go generate`
package main

//go:generate buf generate

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	handlerv1 "example.com/activity/gen/hookline/handler/v1"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:9000", "address to listen on; port 0 takes a free one")
	out := flag.String("out", "activity.jsonl", "file that the lines are added to")
	notice := flag.Duration("notice", time.Second, "how long to say NOT_SERVING before the server stops")
	patience := flag.Duration("patience", 20*time.Second, "how long to wait for calls under way when stopping")
	flag.Parse()
	if err := serve(*listen, *out, *notice, *patience); err != nil {
		slog.Error("can't serve", "error", err)
		os.Exit(1)
	}
}

// serve runs until SIGTERM or SIGINT, then stops gracefully: not ready, calls under way finished, gone.
func serve(listen, out string, notice, patience time.Duration) error {
	ledger, err := OpenLedger(out)
	if err != nil {
		return err
	}
	defer ledger.Close()
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	server, ready := grpc.NewServer(), health.NewServer()
	handlerv1.RegisterEventHandlerServiceServer(server, &Handler{Ledger: ledger})
	healthpb.RegisterHealthServer(server, ready)
	ready.SetServingStatus(handlerv1.EventHandlerService_ServiceDesc.ServiceName, healthpb.HealthCheckResponse_SERVING)

	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	go func() {
		<-stop.Done()
		ready.Shutdown() // The gateway sends nothing to who is NOT_SERVING: give it the time to notice.
		time.Sleep(notice)
		time.AfterFunc(patience, server.Stop)
		server.GracefulStop()
	}()
	fmt.Fprintf(os.Stderr, "listening on %s\n", listener.Addr())
	return server.Serve(listener)
}
