// Package holdfast calls Holdfast over gRPC with manners: deadlines, retries that are executed once, typed refusals,
// balancing over healthy replicas, and watches that resume. The stubs are generated from the contract.
package holdfast

import (
	"context"
	crand "crypto/rand"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/health" // Replicas whose health is not SERVING get no calls.
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	serviceConfig = `{"loadBalancingConfig": [{"round_robin": {}}],
		"healthCheckConfig": {"serviceName": "holdfast.inventory.v1.ReservationService"}}`
	messageLimitBytes = 16 << 20
	firstDelay        = 100 * time.Millisecond
	mostDelay         = 2 * time.Second
	// A watch sends a heartbeat every 10 s.
	silence = 30 * time.Second
	// As in gRPC's retry throttling: an outage does not multiply its load.
	mostTokens, regained = 20.0, 0.1
)

// Options of a client; the zero value calls in plain text, without a credential.
type Options struct {
	// Credential returns a token or an API key. It is called for each attempt.
	Credential func() (string, error)
	TLS        *tls.Config
	// Timeout is for a call with all its attempts, if its context has no deadline; default 15 s.
	Timeout time.Duration
	// AttemptTimeout is for each attempt of a call that can be repeated; default 5 s.
	AttemptTimeout time.Duration
}

// Client has a stub for each service. Its calls fail with *Refusal or *Unanswered.
type Client struct {
	services
	conn    *grpc.ClientConn
	options Options
	mutex   sync.Mutex
	tokens  float64
}

// Dial returns a client of a gRPC name, such as inventory:50051. It connects with the first call.
func Dial(target string, options Options) (*Client, error) {
	if options.Timeout == 0 {
		options.Timeout = 15 * time.Second
	}
	if options.AttemptTimeout == 0 {
		options.AttemptTimeout = 5 * time.Second
	}
	transport := insecure.NewCredentials()
	if options.TLS != nil {
		transport = credentials.NewTLS(options.TLS)
	}
	client := &Client{options: options, tokens: mostTokens}
	conn, err := grpc.NewClient(target,
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithDisableServiceConfig(),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 15 * time.Second, Timeout: 5 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(messageLimitBytes)),
		grpc.WithUnaryInterceptor(client.call),
		grpc.WithStreamInterceptor(client.open))
	if err != nil {
		return nil, err
	}
	client.conn, client.services = conn, newServices(conn)
	return client, nil
}

// Close ends the connections and the calls in progress.
func (c *Client) Close() error { return c.conn.Close() }

// call sends a request until it has an answer or a decision, or the time or the budget is used up.
func (c *Client) call(ctx context.Context, method string, request, answer any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.options.Timeout)
		defer cancel()
	}
	giveID(request.(proto.Message).ProtoReflect())
	facts, sentBefore := methods[method], false
	for delay := firstDelay; ; delay = min(2*delay, mostDelay) {
		err := c.attempt(ctx, facts, sentBefore, func(ctx context.Context) error {
			return invoke(ctx, method, request, answer, conn, options...)
		})
		c.note(err)
		wait := max(jittered(delay), wantedDelay(err))
		if err == nil || !c.mayRepeat(err, facts) || !sleep(ctx, wait) {
			return err
		}
		sentBefore = sentBefore || !facts.read && mayBeApplied(err)
	}
}

func (c *Client) attempt(ctx context.Context, facts facts, sentBefore bool, invoke func(context.Context) error) error {
	if facts.repeatable {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.options.AttemptTimeout)
		defer cancel()
	}
	if sentBefore {
		// "Nothing was done" by this attempt says nothing about the earlier one.
		ctx = metadata.AppendToOutgoingContext(ctx, "holdfast-previous-attempts", "1")
	}
	ctx, err := c.authenticated(ctx)
	if err != nil {
		return err
	}
	return errorOf(invoke(ctx))
}

func (c *Client) open(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
	ctx, err := c.authenticated(ctx)
	if err != nil {
		return nil, err
	}
	stream, err := open(ctx, desc, conn, method, options...)
	return stream, errorOf(err)
}

func (c *Client) authenticated(ctx context.Context) (context.Context, error) {
	if c.options.Credential == nil {
		return ctx, nil
	}
	credential, err := c.options.Credential()
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+credential), err
}

func (c *Client) note(err error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if undecided(err) {
		c.tokens = max(0, c.tokens-1)
	} else {
		c.tokens = min(mostTokens, c.tokens+regained)
	}
}

func (c *Client) mayRepeat(err error, facts facts) bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.tokens <= mostTokens/2 || !undecided(err) {
		return false
	}
	var refusal *Refusal
	// Over capacity, nothing was begun.
	return facts.repeatable || errors.As(err, &refusal) && refusal.Code == codes.ResourceExhausted
}

// Stream is an open watch.
type Stream[Event any] interface{ Recv() (*Event, error) }

// Watch gives each event of a watch to `each`, and opens it again at the last resume token, however it ends, until the
// context ends, `each` fails, or the same request would be refused again. `open` opens it:
//
//	holdfast.Watch(ctx, func(ctx context.Context, token string) (holdfast.Stream[pb.WatchStockResponse], error) {
//		return client.Sales.WatchStock(ctx, &pb.WatchStockRequest{Name: sale, ResumeToken: token})
//	}, each)
func Watch[Event any, Pointer interface {
	*Event
	GetResumeToken() string
}](ctx context.Context, open func(context.Context, string) (Stream[Event], error), each func(*Event) error) error {
	token := ""
	for delay := firstDelay; ; delay = min(2*delay, mostDelay) {
		before := token
		err := follow[Event, Pointer](ctx, open, &token, each)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var own *ownError
		if errors.As(err, &own) {
			return own.error
		}
		if !mayResume(err) {
			return err
		}
		if token != before {
			delay = firstDelay
		}
		sleep(ctx, max(jittered(delay), wantedDelay(err)))
	}
}

// ownError is one of the caller's function.
type ownError struct{ error }

func follow[Event any, Pointer interface {
	*Event
	GetResumeToken() string
}](ctx context.Context, open func(context.Context, string) (Stream[Event], error), token *string, each func(*Event) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := open(ctx, *token)
	for err == nil {
		timer := time.AfterFunc(silence, cancel)
		var event *Event
		event, err = stream.Recv()
		timer.Stop()
		if err != nil {
			break
		}
		if failed := each(event); failed != nil {
			return &ownError{failed}
		}
		*token = Pointer(event).GetResumeToken()
	}
	return errorOf(err)
}

// giveID gives a request, and each command in it, an id if it can have one and has none: it is then executed once.
func giveID(request protoreflect.Message) {
	fields := request.Descriptor().Fields()
	if field := fields.ByName("request_id"); field != nil && request.Get(field).String() == "" {
		request.Set(field, protoreflect.ValueOfString(crand.Text()))
	}
	if field := fields.ByName("commands"); field != nil {
		for list, at := request.Get(field).List(), 0; at < list.Len(); at++ {
			command := list.Get(at).Message()
			if create := command.Descriptor().Fields().ByName("create"); command.Has(create) {
				giveID(command.Mutable(create).Message())
			}
		}
	}
}

func jittered(delay time.Duration) time.Duration {
	return delay/2 + rand.N(delay/2)
}

// sleep returns whether there is time left after it.
func sleep(ctx context.Context, delay time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= delay {
		return false
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(delay):
		return true
	}
}
