import type { CheckDefinition, CoordinatorContext, FunctionContext, Recover } from "../application/context.ts";
import type { CoordinatorDefinition, FunctionDefinition } from "../application/definitions.ts";
import type { LoadedApplication } from "../pod/bundle.ts";
import type { Timeline } from "./timeline.ts";

/** What an attempt throws instead of executing; `undefined` lets it execute. */
export type FailureOf<Input> = (input: Input, attempt: number) => unknown;

interface Fault {
  fails: FailureOf<never> | undefined;
  /** What the next attempts throw, one each. */
  once: unknown[];
  /** Of these, by attempt, what one of two compared executions has thrown: the other throws the same. */
  halfThrown: Map<string, unknown>;
  delayMs: number;
  hangs: boolean;
  handler: FunctionDefinition["handler"] | undefined;
}

/** Stands between the pods and the application's code: injects faults, and tells the timeline while user code is under way. */
export class FunctionFaults {
  readonly #timeline: Timeline;
  readonly #after: (ms: number, callback: () => void) => () => void;
  readonly #faults = new Map<string, Fault>();

  constructor(timeline: Timeline, after: (ms: number, callback: () => void) => () => void) {
    this.#timeline = timeline;
    this.#after = after;
  }

  of(name: string): Fault {
    let fault = this.#faults.get(name);
    if (fault === undefined) {
      fault = { fails: undefined, once: [], halfThrown: new Map(), delayMs: 0, hangs: false, handler: undefined };
      this.#faults.set(name, fault);
    }
    return fault;
  }

  mend(name: string | undefined): void {
    if (name === undefined) this.#faults.clear();
    else this.#faults.delete(name);
  }

  wrap(application: LoadedApplication): LoadedApplication {
    const { functions, coordinators, checks } = application;
    return {
      ...application,
      functions: new Map([...functions].map(([name, definition]) => [name, this.#function(definition)])),
      coordinators: new Map([...coordinators].map(([name, definition]) => [name, this.#coordinator(definition)])),
      checks: new Map([...checks].map(([name, definition]) => [name, this.#check(definition)])),
    };
  }

  #function(definition: FunctionDefinition): FunctionDefinition {
    const { name } = definition;
    const handler = (input: unknown, ctx: FunctionContext): unknown => {
      const fault = this.#faults.get(name);
      if (fault === undefined) return this.#track(() => definition.handler(input, ctx));
      const execute = () => this.#track(() => (fault.handler ?? definition.handler)(input, ctx));
      return this.#disturb(fault, input, ctx, definition.options.trust === "compare", execute);
    };
    const { compensate, recover } = definition.options;
    const options = { ...definition.options, ...this.#recovering(recover) };
    if (compensate !== undefined) options.compensate = (ctx, done) => this.#track(() => compensate(ctx, done));
    return { ...definition, handler, options };
  }

  #check(definition: CheckDefinition): CheckDefinition {
    const { test } = definition.options;
    if (test === undefined) return definition;
    return { ...definition, options: { ...definition.options, test: (execution, ctx) => this.#track(() => test(execution, ctx)) } };
  }

  #recovering(recover: Recover | undefined): { recover?: Recover } {
    if (recover === undefined) return {};
    return {
      recover: (ctx, failure) => {
        const step: CoordinatorContext["step"] = (name, f) => ctx.step(name, () => this.#track(f));
        return recover({ ...ctx, step }, failure);
      },
    };
  }

  async #disturb(fault: Fault, input: unknown, ctx: FunctionContext, isCompared: boolean, execute: () => unknown): Promise<unknown> {
    if (fault.delayMs > 0) await this.#pass(fault.delayMs, ctx.signal);
    if (fault.hangs) await new Promise(() => {});
    const error = isCompared ? onceForBoth(fault, `${ctx.key}/${ctx.attempt}`) : fault.once.shift();
    const thrown = error === undefined ? fault.fails?.(input as never, ctx.attempt) : error;
    if (thrown !== undefined) throw thrown;
    return execute();
  }

  #pass(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const cancel = this.#after(ms, resolve);
      const abort = (): void => {
        cancel();
        reject(signal.reason as Error);
      };
      if (signal.aborted) abort();
      else signal.addEventListener("abort", abort, { once: true });
    });
  }

  #coordinator(definition: CoordinatorDefinition): CoordinatorDefinition {
    const handler = (ctx: CoordinatorContext, input: unknown): Promise<unknown> => {
      const step: CoordinatorContext["step"] = (name, f) => ctx.step(name, () => this.#track(f));
      return definition.handler({ ...ctx, step }, input);
    };
    return { ...definition, handler, options: { ...definition.options, ...this.#recovering(definition.options.recover) } };
  }

  #track<T>(f: () => T): T {
    const done = this.#timeline.work();
    let result: T;
    try {
      result = f();
    } catch (error) {
      done();
      throw error;
    }
    if (isThenable(result)) result.then(done, done);
    else done();
    return result;
  }
}

const onceForBoth = ({ once, halfThrown }: Fault, attempt: string): unknown => {
  const other = halfThrown.get(attempt);
  if (halfThrown.delete(attempt)) return other;
  const error = once.shift();
  if (error !== undefined) halfThrown.set(attempt, error);
  return error;
};

const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === "object" && value !== null && typeof (value as PromiseLike<unknown>).then === "function";
