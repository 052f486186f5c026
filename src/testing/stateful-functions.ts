/**
 * Stateful functions in a test: one process applies their operations in the place of replicas, and certifies nothing.
 *
 * Owns: the states, which outlive pods and control planes of the test as those of replicas do, and the order of operations.
 */
import type { FunctionContext, FunctionDefinition } from "../application/context.ts";
import { stateKeyOf } from "../application/state-key.ts";
import type { Json } from "../lib/json.ts";
import { fromJson, toJson } from "../lib/json.ts";
import { hashText, type Random, seeded } from "../lib/random.ts";
import type { LoadedApplication } from "../pod/bundle.ts";
import { applyStateful } from "../pod/replica-stateful.ts";

interface Applied {
  state: unknown;
  value: unknown;
}

export class StatefulFunctions {
  readonly #now: () => number;
  /** By version, function and key. */
  readonly #states = new Map<string, Json>();
  /** The last operation of each function that is not applied at once. */
  readonly #last = new Map<string, Promise<unknown>>();

  constructor(now: () => number) {
    this.#now = now;
  }

  wrap(application: LoadedApplication, version: string): LoadedApplication {
    const functions = new Map([...application.functions].map(([name, definition]) => [name, this.#wrapped(definition, version)]));
    return { ...application, functions };
  }

  #wrapped(definition: FunctionDefinition, version: string): FunctionDefinition {
    const { stateful, options } = definition;
    if (stateful === undefined) return definition;
    // Input and output are checked where the operation is applied.
    const { input: _input, output: _output, ...rest } = options;
    const handler = (input: unknown, ctx: FunctionContext): unknown => this.#operate(definition, version, input, ctx, input, ctx.key);
    const compensate = (ctx: FunctionContext, done: { input: unknown }): unknown =>
      this.#operate(definition, version, done, ctx, done.input, ctx.key.replace(/\/(\d+)\/compensate$/, "/-$1"));
    return { ...definition, handler, options: stateful.compensate === undefined ? rest : { ...rest, compensate } };
  }

  /** @param keyed what the state's key is in */
  #operate(definition: FunctionDefinition, version: string, input: unknown, ctx: FunctionContext, keyed: unknown, id: string): unknown {
    const key = stateKeyOf(definition.stateful?.key, keyed) ?? "";
    const name = `${version}/${definition.name}`;
    const place = `${name}/${key}`;
    const apply = (): unknown => {
      const known = this.#states.get(place);
      const state = known === undefined ? definition.stateful?.initial(key) : fromJson(known);
      return applyStateful(definition, state, input, this.#context(ctx, id, key) as never);
    };
    const keep = (applied: unknown): unknown => {
      const { state, value } = applied as Applied;
      this.#states.set(place, toJson(state, `the state of function "${definition.name}"`));
      return value;
    };
    const before = this.#last.get(name);
    const applied = before === undefined ? apply() : before.then(apply);
    if (!(applied instanceof Promise)) return keep(applied);
    const kept = applied.then(keep);
    const last: Promise<unknown> = kept
      .catch(() => undefined)
      .then(() => {
        if (this.#last.get(name) === last) this.#last.delete(name);
      });
    this.#last.set(name, last);
    return kept;
  }

  #context(ctx: FunctionContext, id: string, key: string): object {
    const random = seeded(hashText(`${id}/${ctx.attempt}`));
    return {
      runId: ctx.runId,
      key: ctx.key,
      log: ctx.log,
      now: this.#now,
      random: () => random.next(),
      uuid: () => uuidFrom(random),
      operation: { id, key },
    };
  }
}

const uuidFrom = (random: Random): string =>
  "xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx".replaceAll(/[xy]/g, (place) =>
    (place === "x" ? random.below(16) : 8 + random.below(4)).toString(16),
  );
