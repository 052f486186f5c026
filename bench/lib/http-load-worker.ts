/** The process of the load generator: gets one LoadPlan from its parent, executes it, answers with the result and ends. */
import type { Socket } from "node:net";
import { connect } from "node:net";
import type { Expectation, LoadPlan, LoadResult } from "./http-load.ts";
import { ResponseReader } from "./http-response.ts";
import { summarize } from "./summary.ts";

const ERROR_SAMPLES = 5;
const RECONNECT_MS = 20;
// A server that refuses every connection would otherwise be asked until the end of the measurement.
const LOST_CONNECTIONS_LIMIT = 1_000;

const FEWEST_PER_CONNECTION = 2;
const EXTENSION_MS = 100;

type Phase = "warm-up" | "measuring" | "draining" | "done";

class Generator {
  readonly plan: LoadPlan;
  readonly #latencies: number[] = [];
  readonly #finish: (result: LoadResult) => void;
  readonly #samples: string[] = [];
  phase: Phase = "warm-up";
  #errors = 0;
  #lost = 0;
  #next = 0;
  #measured = 0;
  #inFlight = 0;
  #startedAt = 0;
  #endedAt = 0;
  #cpuAtStart = process.cpuUsage();
  #cpuMs = 0;

  constructor(plan: LoadPlan, finish: (result: LoadResult) => void) {
    this.plan = plan;
    this.#finish = finish;
  }

  start(): void {
    const connections = Array.from({ length: this.plan.connections }, () => new Connection(this));
    for (const connection of connections) connection.open();
    setTimeout(() => this.#measure(), this.plan.warmupMs);
    setInterval(() => {
      const now = performance.now();
      for (const connection of connections) connection.checkTimeout(now);
    }, 250).unref();
  }

  /** The request that a connection shall send now; `undefined` when it shall send no more. */
  take(): LoadPlan["requests"][number] | undefined {
    if (this.phase === "draining" || this.phase === "done") return undefined;
    if (this.phase === "measuring" && this.plan.count !== undefined && this.#measured++ >= this.plan.count) return undefined;
    this.#inFlight++;
    return this.plan.requests[this.#next++ % this.plan.requests.length];
  }

  succeeded(sentAt: number, now: number): void {
    // With a count, an answer to what the warm-up sent belongs to no measurement; with a duration it does, as in any steady state.
    const counts = this.plan.count === undefined ? this.phase === "measuring" : sentAt >= this.#startedAt && this.#startedAt > 0;
    if (counts) this.#latencies.push(now - sentAt);
    this.#settled(now);
  }

  failed(error: string): void {
    this.#errors++;
    if (this.#samples.length < ERROR_SAMPLES && !this.#samples.includes(error)) this.#samples.push(error);
    this.#settled(performance.now());
  }

  lostBeforeSending(error: string): void {
    this.#lost++;
    if (this.#lost === LOST_CONNECTIONS_LIMIT) {
      this.failed(`gave up after ${LOST_CONNECTIONS_LIMIT} failed connections: ${error}`);
      this.#end();
    }
  }

  #measure(): void {
    this.phase = "measuring";
    this.#startedAt = performance.now();
    this.#cpuAtStart = process.cpuUsage();
    if (this.plan.count === undefined) setTimeout(() => this.#endOfWindow(), this.plan.durationMs);
  }

  /** Ends the measurement unless it has seen too few answers for a rate. */
  #endOfWindow(): void {
    const tooFew = this.#latencies.length + this.#errors < FEWEST_PER_CONNECTION * this.plan.connections;
    const patient = performance.now() - this.#startedAt < this.plan.durationMs + this.plan.timeoutMs;
    if (tooFew && patient) setTimeout(() => this.#endOfWindow(), EXTENSION_MS);
    else this.#drain();
  }

  #drain(): void {
    this.#stopTheClock(performance.now());
    this.phase = "draining";
    if (this.#inFlight === 0) this.#end();
    else setTimeout(() => this.#end(), this.plan.timeoutMs);
  }

  #settled(now: number): void {
    this.#inFlight--;
    if (this.plan.count !== undefined && this.#measured >= this.plan.count && this.#inFlight === 0) {
      this.#stopTheClock(now);
      this.#end();
      return;
    }
    if (this.phase === "draining" && this.#inFlight === 0) this.#end();
  }

  #stopTheClock(now: number): void {
    this.#endedAt = now;
    const cpu = process.cpuUsage(this.#cpuAtStart);
    this.#cpuMs = (cpu.user + cpu.system) / 1_000;
  }

  #end(): void {
    if (this.phase === "done") return;
    this.phase = "done";
    const latencies = summarize(this.#latencies, this.#endedAt - this.#startedAt);
    this.#finish({ ...latencies, errors: this.#errors, errorSamples: this.#samples, generatorCpuMs: this.#cpuMs });
  }
}

class Connection {
  readonly #generator: Generator;
  #socket: Socket | undefined;
  #sentAt = 0;
  #expect: Expectation | undefined;

  constructor(generator: Generator) {
    this.#generator = generator;
  }

  open(): void {
    const { host, port } = this.#generator.plan;
    const socket = connect({ host, port, noDelay: true });
    const reader = new ResponseReader((status, body, keepAlive) => this.#received(status, body, keepAlive));
    let failure = "the server closed the connection";
    socket.on("connect", () => this.#send());
    socket.on("data", (chunk) => {
      try {
        reader.push(chunk);
      } catch (error) {
        socket.destroy(error as Error);
      }
    });
    socket.on("error", (error) => {
      failure = error.message;
    });
    socket.on("close", () => {
      if (this.#socket === socket) this.#lost(failure);
    });
    this.#socket = socket;
  }

  checkTimeout(now: number): void {
    if (this.#expect === undefined || now - this.#sentAt < this.#generator.plan.timeoutMs) return;
    this.#socket?.destroy(new Error(`no answer in ${this.#generator.plan.timeoutMs} ms`));
  }

  #send(): void {
    const request = this.#generator.take();
    if (request === undefined) {
      const socket = this.#socket;
      this.#socket = undefined;
      socket?.destroy();
      return;
    }
    this.#expect = request.expect;
    this.#sentAt = performance.now();
    this.#socket?.write(request.bytes);
  }

  #received(status: number, body: string, keepAlive: boolean): void {
    const expect = this.#expect;
    if (expect === undefined) throw new Error("an answer came that nothing asked for");
    this.#expect = undefined;
    const now = performance.now();
    if (status === expect.status && (expect.body === undefined || expect.body.test(body))) this.#generator.succeeded(this.#sentAt, now);
    else this.#generator.failed(`status ${status}, expected ${expect.status} and ${expect.body}: ${body.slice(0, 300)}`);
    if (keepAlive) {
      this.#send();
      return;
    }
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.destroy();
    this.open();
  }

  #lost(error: string): void {
    if (this.#expect === undefined) this.#generator.lostBeforeSending(error);
    else this.#generator.failed(error);
    this.#expect = undefined;
    this.#socket = undefined;
    if (this.#generator.phase !== "done") setTimeout(() => this.open(), RECONNECT_MS);
  }
}

process.once("disconnect", () => process.exit(1));
process.once("message", (message) => {
  const finish = (result: LoadResult): void => void process.send?.({ result }, () => process.exit(0));
  new Generator(message as LoadPlan, finish).start();
});
