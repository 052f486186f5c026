/**
 * What a definition may touch, by the `permissions` in its manifest. One that has none may use all of its own application's; one that has
 * any may do what it lists and no more.
 */
import { LockstepError } from "../lib/errors.ts";
import { fitsGlob } from "../lib/glob.ts";
import type { Permissions } from "../protocol/application.ts";

export type PermissionKind = keyof Permissions;

/** What is wanted of a resource: of a bucket's object or a table's key; `call` goes with functions and coordinators. */
export type Action = "read" | "write" | "call";

/** Who wants it, as messages name it: `function "payment"`. */
export interface Actor {
  kind: "function" | "coordinator";
  name: string;
  application: string;
}

/** Whether the definition is held to what it lists. */
export const isHeld = (permissions: Permissions | undefined): permissions is Permissions =>
  permissions !== undefined && (permissions.objects !== undefined || permissions.state !== undefined || permissions.call !== undefined);

/** @param resource `table/key`, `bucket/key`, or a name */
export const allows = (permissions: Permissions | undefined, kind: PermissionKind, action: Action, resource: string): boolean =>
  !isHeld(permissions) || patternsOf(permissions, kind, action).some((pattern) => fitsGlob(pattern, resource));

/** Whether the definition may do it to everything that begins with `prefix`, as a listing does. */
export const allowsAll = (permissions: Permissions | undefined, kind: PermissionKind, action: Action, prefix: string): boolean =>
  !isHeld(permissions) ||
  // A final star takes in whatever follows the prefix; one that fits the prefix without it might not fit all that begins so.
  patternsOf(permissions, kind, action).some((pattern) => pattern.endsWith("*") && fitsGlob(pattern, prefix));

const patternsOf = (permissions: Permissions, kind: PermissionKind, action: Action): string[] => {
  const patterns: string[] = [];
  for (const entry of permissions[kind] ?? []) {
    const [, only, pattern] = /^(?:(read|write):)?(.*)$/s.exec(entry) as unknown as [string, string | undefined, string];
    if (kind === "call") patterns.push(entry);
    else if (only === undefined || only === action) patterns.push(pattern);
  }
  return patterns;
};

const NOUN: Record<PermissionKind, string> = { objects: "object", state: "state", call: "" };

/** Says who may not do what, and which line of the definition would allow it. @param foreign the application whose bucket it is */
export const denial = (actor: Actor, kind: PermissionKind, action: Action, resource: string, foreign?: string): LockstepError => {
  const { name, application } = actor;
  const line = `permissions: { ${kind}: ["${suggestion(kind, action, resource)}"] }`;
  const what = [action, NOUN[kind], `"${shown(resource)}"`].filter((word) => word !== "").join(" ");
  const whose = foreign === undefined ? "" : `, which belongs to application "${foreign}"`;
  const message = `${actor.kind} "${name}" of application "${application}" may not ${what}${whose}: ${line} in its definition would allow it`;
  const error = new LockstepError("ACCESS_DENIED", message, {
    details: { [actor.kind]: name, application, action, kind, resource: shown(resource), allow: line },
  });
  // Trying again cannot help.
  return Object.assign(error, { terminal: true });
};

/** All of the table or bucket: what is nearest to what was meant. */
const suggestion = (kind: PermissionKind, action: Action, resource: string): string => {
  if (kind === "call") return resource;
  const slash = resource.indexOf("/");
  return `${action}:${slash < 0 ? resource : resource.slice(0, slash)}/*`;
};

const LONGEST_SHOWN = 200;

const shown = (resource: string): string => (resource.length > LONGEST_SHOWN ? `${resource.slice(0, LONGEST_SHOWN)}…` : resource);
