import { type Action, type Actor, allows, allowsAll, denial, isHeld, type PermissionKind } from "../application/permissions.ts";
import type { Registry } from "../application/registry.ts";
import type { AcceptedRun } from "../journal/port.ts";
import { type Failure, failureOf } from "../lib/errors.ts";
import type { Permissions } from "../protocol/application.ts";
import type { Command } from "../protocol/run.ts";

type Specs = Pick<Registry, "spec" | "coordinatorSpec">;

/** Why the definition whose code issued this command may not; `undefined` when it may. */
export const commandDenial = (registry: Specs, head: AcceptedRun, command: Command): Failure | undefined => {
  if (command.t !== "call" && command.t !== "child" && command.t !== "state") return undefined;
  const permissions = permissionsOf(registry, head);
  if (!isHeld(permissions)) return undefined;
  const denied = (kind: PermissionKind, action: Action, resource: string): Failure => {
    const { stack: _, ...failure } = failureOf(denial(actorOf(head), kind, action, resource), "ACCESS_DENIED");
    return failure;
  };
  const single = (kind: PermissionKind, action: Action, resource: string): Failure | undefined =>
    allows(permissions, kind, action, resource) ? undefined : denied(kind, action, resource);
  if (command.t === "call") {
    const failure = single("call", "call", command.fn);
    return failure === undefined ? undefined : { ...failure, call: { function: command.fn, seq: command.seq } };
  }
  if (command.t === "child") return single("call", "call", command.coordinator);
  const { op } = command;
  if (op.op !== "list") return single("state", op.op === "write" ? "write" : "read", op.key);
  return allowsAll(permissions, "state", "read", op.prefix) ? undefined : denied("state", "read", op.prefix);
};

/** Those of the coordinator, or of the definition whose recovery it is; what is called directly has asked nobody's leave. */
const permissionsOf = (registry: Specs, { kind, name, version }: AcceptedRun): Permissions | undefined => {
  if (kind === "coordinator") return registry.coordinatorSpec(name, version)?.permissions;
  if (kind !== "recovery") return undefined;
  const { of, name: recovered } = recoveredBy(name);
  return (of === "function" ? registry.spec(recovered, version) : registry.coordinatorSpec(recovered, version))?.permissions;
};

const actorOf = ({ kind, name, application }: AcceptedRun): Actor => {
  if (kind !== "recovery") return { kind: "coordinator", name, application };
  const { of, name: recovered } = recoveredBy(name);
  return { kind: of, name: recovered, application };
};

/** A recovery's name says whose it is: `function/payment`. */
const recoveredBy = (name: string): { of: "function" | "coordinator"; name: string } => {
  const slash = name.indexOf("/");
  return { of: name.slice(0, slash) === "function" ? "function" : "coordinator", name: name.slice(slash + 1) };
};
