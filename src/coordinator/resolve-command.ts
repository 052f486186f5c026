/**
 * Commands as the machine takes them: what a run's code asks for, with what only the platform knows of it.
 *
 * Owns: to which version a call or a child goes, the ids of children and recoveries, and why a command cannot be. Does not own: what follows
 * from a command (machine.ts), who may do what (permissions.ts).
 *
 * A command's own fields are taken one by one: a pod may send others beside them, such as those that are added here.
 */
import type { Registry } from "../application/registry.ts";
import type { AcceptedRun } from "../journal/port.ts";
import type { Clock } from "../lib/clock.ts";
import type { RunIds } from "../lib/ids.ts";
import type { Command } from "../protocol/run.ts";
import type { ResolvedCommand } from "./machine.ts";
import { commandDenial } from "./permissions.ts";

export interface CommandParts {
  registry: Pick<Registry, "spec" | "coordinatorSpec" | "homeOfFunction" | "homeOfCoordinator">;
  ids: Pick<RunIds, "next">;
  clock: Pick<Clock, "now">;
}

/** @param head of the run whose code issued the command */
export const resolveCommand = (parts: CommandParts, head: AcceptedRun, command: Command): ResolvedCommand => {
  switch (command.t) {
    case "finish":
      return resolveEnd(parts, head, command);
    case "call":
      return resolveCall(parts, head, command);
    case "child":
      return resolveChild(parts, head, command);
    case "state": {
      const refusal = commandDenial(parts.registry, head, command);
      const { t, seq, op } = command;
      return refusal === undefined ? { t, seq, op } : { t, seq, op, refusal };
    }
    default:
      return command;
  }
};

const resolveCall = ({ registry }: CommandParts, head: AcceptedRun, command: Command & { t: "call" }): ResolvedCommand => {
  const { t, seq, fn, input, options } = command;
  const resolved: ResolvedCommand & { t: "call" } = { t, seq, fn, input };
  if (options !== undefined) resolved.options = options;
  const refusal = commandDenial(registry, head, command);
  if (refusal !== undefined) return { ...resolved, refusal };
  const home = registry.homeOfFunction(fn, head.version);
  if (home === undefined) {
    const isCoordinator = registry.homeOfCoordinator(fn, head.version) !== undefined;
    const message = `no deployed application defines function "${fn}"${isCoordinator ? ": it is a coordinator, for ctx.run and ctx.start" : ""}`;
    return { ...resolved, refusal: { code: "UNKNOWN_FUNCTION", message, terminal: true, call: { function: fn, seq } } };
  }
  resolved.version = home.version;
  if (registry.spec(fn, home.version)?.compensates) resolved.undoable = true;
  return resolved;
};

const resolveChild = ({ registry, ids, clock }: CommandParts, head: AcceptedRun, command: Command & { t: "child" }): ResolvedCommand => {
  const { t, seq, coordinator, input, detached } = command;
  const resolved = { t, seq, coordinator, input, detached };
  const refusal = commandDenial(registry, head, command);
  if (refusal !== undefined) return { ...resolved, refusal };
  const home = registry.homeOfCoordinator(coordinator, head.version);
  if (home !== undefined) return { ...resolved, child: ids.next(clock.now()) };
  const isFunction = registry.homeOfFunction(coordinator, head.version) !== undefined;
  const message = `no deployed application defines coordinator "${coordinator}"${isFunction ? ": it is a function, for ctx.call" : ""}`;
  return { ...resolved, refusal: { code: "UNKNOWN_COORDINATOR", message, terminal: true } };
};

/** A coordinator that has thrown, and knows what to do then, is given the id of its recovery. */
const resolveEnd = (
  { registry, ids, clock }: CommandParts,
  { kind, name, version }: AcceptedRun,
  { t, value, failure, cancelled }: Command & { t: "finish" },
): ResolvedCommand => {
  const end: ResolvedCommand & { t: "finish" } = failure === undefined ? { t, value: value ?? "" } : { t, failure };
  if (cancelled) end.cancelled = true;
  if (failure === undefined || kind !== "coordinator" || !registry.coordinatorSpec(name, version)?.recovers) return end;
  return { ...end, recovery: ids.next(clock.now()) };
};
