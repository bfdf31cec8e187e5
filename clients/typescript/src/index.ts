/**
 * A client of Holdfast over REST, for browsers and Node.js, without dependencies.
 *
 * Types and operations are generated from the contract. A call is repeated if Holdfast could not decide (OVERLOADED,
 * DRAINING, ...) or the answer was lost, under the same Idempotency-Key, so that it is executed once. Decisions, such as
 * INSUFFICIENT_STOCK, are thrown at once.
 */
import { OPERATIONS } from "./operations.js";
import type { components, operations } from "./schema.js";

export type Schemas = components["schemas"];
export type Reason = Schemas["Problem"]["reason"];
export type Operation = keyof typeof OPERATIONS & keyof operations;

type Media<Content> = Content extends { "application/json": infer Body } ? Body : undefined;
export type Answer<Name extends Operation> = operations[Name]["responses"] extends { 200: { content: infer Content } }
  ? Media<Content>
  : undefined;
type Body<Name extends Operation> = operations[Name] extends { requestBody: { content: infer Content } }
  ? { body: Media<Content> }
  : operations[Name] extends { requestBody?: { content: infer Content } }
    ? { body?: Media<Content> }
    : { body?: undefined };
type Part<Name extends Operation, Key extends string> = operations[Name]["parameters"] extends { [key in Key]: infer Value }
  ? { [key in Key]: Value }
  : operations[Name]["parameters"] extends { [key in Key]?: infer Value }
    ? { [key in Key]?: Value }
    : object;
export type Request<Name extends Operation> = Part<Name, "path"> & Part<Name, "query"> & Body<Name>;

type Loose = { path?: object; query?: object; body?: unknown };
type Page<Field extends PropertyKey> = { [field in Field]?: never[] } & { nextPageToken?: string };

export interface CallOptions {
  /** For the call with all its attempts; 15. */
  timeoutSeconds?: number;
  /** Executes the request once. Default: a new one for each call. */
  idempotencyKey?: string;
  admissionToken?: string;
  signal?: AbortSignal;
}

export interface ClientOptions {
  /** A token or an API key, or what returns the present one; asked at each attempt. */
  credential?: string | (() => string | Promise<string>);
  /** For a call with all its attempts; 15. */
  timeoutSeconds?: number;
  /** For each attempt of a call that can be repeated; 5. */
  attemptSeconds?: number;
}

/** Holdfast has refused the request; `reason` says why, and `retryable` whether it may succeed later. */
export class Refusal extends Error {
  constructor(readonly problem: Schemas["Problem"]) {
    super(problem.detail || problem.title);
    this.name = "Refusal";
  }
  get reason(): Reason {
    return this.problem.reason;
  }
  get status(): number {
    return this.problem.status;
  }
  get retryable(): boolean {
    return this.problem.retryable;
  }
  get retryAfterSeconds(): number | undefined {
    return this.problem.retryAfterSeconds;
  }
  get metadata(): { [key: string]: string } {
    return this.problem.metadata ?? {};
  }
}

/** There was no answer of Holdfast: the request may have been applied. Repeat it with the same idempotencyKey. */
export class Unanswered extends Error {
  override readonly name = "Unanswered";
}

/** The gateway sends at least a comment every 15 s. */
const SILENCE_SECONDS = 30.5;
const FIRST_DELAY_SECONDS = 0.1;
const MOST_DELAY_SECONDS = 2;
/** Tokens for retries, as in gRPC's retry throttling: an outage does not multiply its load. */
const TOKENS = 20;
const DECISION = 409;

export class Client {
  readonly #base: string;
  readonly #options: ClientOptions;
  #tokens = TOKENS;

  /** `baseUrl` is the gateway's or the edge's. */
  constructor(baseUrl: string, options: ClientOptions = {}) {
    this.#base = baseUrl.replace(/\/$/, "");
    this.#options = options;
  }

  /** Executes an operation of the contract. Throws Refusal or Unanswered. */
  async call<Name extends Operation>(name: Name, request: Request<Name>, options: CallOptions = {}): Promise<Answer<Name>> {
    const key = options.idempotencyKey ?? crypto.randomUUID();
    const deadline = now() + (options.timeoutSeconds ?? this.#options.timeoutSeconds ?? 15);
    const { repeatable } = OPERATIONS[name];
    for (let delay = FIRST_DELAY_SECONDS; ; delay = Math.min(2 * delay, MOST_DELAY_SECONDS)) {
      const left = deadline - now();
      const seconds = repeatable ? Math.min(left, this.#options.attemptSeconds ?? 5) : left;
      try {
        const response = await this.#send(name, request as Loose, key, options, AbortSignal.timeout(Math.max(1, Math.ceil(1000 * seconds))));
        this.#tokens = Math.min(TOKENS, this.#tokens + 0.1);
        return (response.status === 204 ? undefined : await parsed(response)) as Answer<Name>;
      } catch (error) {
        options.signal?.throwIfAborted();
        const wait = Math.max(jittered(delay), (error instanceof Refusal && error.retryAfterSeconds) || 0);
        if (!this.#mayRepeat(error, repeatable) || now() + wait >= deadline) throw error;
        await pause(wait, options.signal);
      }
    }
  }

  /** All entries of a list, from all pages: `client.all("ListSales", "sales", {query: {state: "OPEN"}})`. */
  async *all<Name extends Operation, Field extends keyof Answer<Name>>(
    name: Name,
    field: Field,
    request: Request<Name>,
    options: CallOptions = {},
  ): AsyncGenerator<NonNullable<Answer<Name>[Field]> extends (infer Entry)[] ? Entry : never> {
    for (let pageToken = ""; ; ) {
      const query = { ...(request as Loose).query, ...(pageToken && { pageToken }) };
      const page = (await this.call(name, { ...request, query }, options)) as unknown as Page<Field>;
      yield* page[field] ?? [];
      pageToken = page.nextPageToken ?? "";
      if (!pageToken) return;
    }
  }

  /** The events of a sale's stock, without an end: resumed at the last one, however the stream ends. */
  watchStock(sale: string, signal?: AbortSignal): AsyncGenerator<Schemas["WatchStockResponse"]> {
    return this.#watch("WatchStock", sale, signal) as AsyncGenerator<Schemas["WatchStockResponse"]>;
  }

  /** The movements of a sale from its first one, or after `lastEventId`: resumed like watchStock. */
  watchMovements(sale: string, signal?: AbortSignal, lastEventId = ""): AsyncGenerator<Schemas["WatchMovementsResponse"]> {
    return this.#watch("WatchMovements", sale, signal, lastEventId) as AsyncGenerator<Schemas["WatchMovementsResponse"]>;
  }

  async *#watch(name: "WatchStock" | "WatchMovements", sale: string, signal?: AbortSignal, lastEventId = ""): AsyncGenerator<unknown> {
    for (let delay = FIRST_DELAY_SECONDS; ; delay = Math.min(2 * delay, MOST_DELAY_SECONDS)) {
      const silence = new AbortController();
      let timer = setTimeout(() => silence.abort(), 1000 * SILENCE_SECONDS);
      try {
        const headers = lastEventId ? { "Last-Event-ID": lastEventId } : {};
        const response = await this.#send(name, { path: { sale } } as never, "", signal ? { signal } : {}, silence.signal, headers);
        for await (const event of events(response)) {
          clearTimeout(timer);
          timer = setTimeout(() => silence.abort(), 1000 * SILENCE_SECONDS);
          if (event["event"] === "error") throw new Refusal(JSON.parse(event["data"] ?? "{}"));
          if (!event["data"]) continue; // A comment: the stream is alive.
          lastEventId = event["id"] ?? lastEventId;
          delay = FIRST_DELAY_SECONDS;
          if (event["event"] !== "heartbeat") yield JSON.parse(event["data"]);
        }
      } catch (error) {
        signal?.throwIfAborted();
        if (error instanceof Refusal && !error.retryable) throw error;
      } finally {
        clearTimeout(timer);
        silence.abort();
      }
      await pause(jittered(delay), signal);
    }
  }

  async #send(
    name: Operation,
    request: Loose,
    key: string,
    options: CallOptions,
    timeout: AbortSignal,
    more: Record<string, string> = {},
  ): Promise<Response> {
    const { method, path, keyed } = OPERATIONS[name];
    const headers: Record<string, string> = { ...more };
    const credential = this.#options.credential;
    if (credential) headers["Authorization"] = `Bearer ${typeof credential === "function" ? await credential() : credential}`;
    if (request.body !== undefined) headers["Content-Type"] = "application/json";
    if (keyed && key) headers["Idempotency-Key"] = key;
    if (options.admissionToken) headers["Holdfast-Admission"] = options.admissionToken;
    const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout;
    const body = request.body === undefined ? null : JSON.stringify(request.body);
    const response = await fetch(this.#base + filled(path, request), { method, headers, body, signal }).catch((cause: unknown) => {
      throw new Unanswered(`${name}: ${String(cause)}`, { cause });
    });
    if (!response.ok) throw await refusal(response);
    return response;
  }

  #mayRepeat(error: unknown, repeatable: boolean): boolean {
    const undecided = error instanceof Refusal ? error.retryable && error.status !== DECISION : error instanceof Unanswered;
    if (!undecided) return false;
    this.#tokens = Math.max(0, this.#tokens - 1);
    if (this.#tokens <= TOKENS / 2) return false;
    return repeatable || (error instanceof Refusal && error.status === 429); // Over capacity, nothing was begun.
  }
}

const now = () => performance.now() / 1000;
const jittered = (seconds: number) => seconds * (0.5 + Math.random() / 2);

async function parsed(response: Response): Promise<unknown> {
  return response.json().catch((cause: unknown) => {
    throw new Unanswered(`the answer ended early: ${String(cause)}`, { cause });
  });
}

async function refusal(response: Response): Promise<Error> {
  const problem = (await response.json().catch(() => undefined)) as Schemas["Problem"] | undefined;
  return problem?.reason ? new Refusal(problem) : new Unanswered(`HTTP ${response.status} without a reason`);
}

function filled(template: string, request: { path?: object; query?: object }): string {
  const values = { ...request.path } as Record<string, string>;
  const path = template.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(values[name] ?? ""));
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(request.query ?? {})) if (value !== undefined) query.append(name, String(value));
  return query.size ? `${path}?${query}` : path;
}

function pause(seconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    signal?.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}

/** The events of a stream (HTML, 9.2.6), as their fields. */
async function* events(response: Response): AsyncGenerator<Record<string, string>> {
  let buffer = "";
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    const blocks = (buffer + read.value).split(/\r?\n\r?\n/);
    buffer = blocks.pop() ?? "";
    for (const block of blocks) {
      const event: Record<string, string> = {};
      for (const line of block.split(/\r?\n/)) {
        const [, field, value] = /^(\w+): ?(.*)$/.exec(line) ?? [];
        if (field) event[field] = field === "data" && event[field] ? `${event[field]}\n${value}` : (value ?? "");
      }
      yield event;
    }
  }
}
