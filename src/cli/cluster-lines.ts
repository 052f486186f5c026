import type { PodWatchEvent, ServiceWatchEvent } from "../protocol/cluster.ts";
import type { Context } from "./context.ts";
import { Interrupted } from "./report.ts";
import { oneLine, timeOfDay } from "./text.ts";

/** Prints what is watched as it changes, a line each, until interrupted. @throws {Interrupted} */
export const printChanges = async <Event extends PodWatchEvent | ServiceWatchEvent>(
  context: Context,
  events: AsyncIterable<Event>,
  textOf: (event: Event) => string | undefined,
): Promise<never> => {
  for await (const event of events) {
    const text = textOf(event);
    if (text === undefined) continue;
    if (context.json) context.printJson(event);
    else context.print(`${context.style.dim(timeOfDay(context.io.clock.now()))} ${text}\n`);
  }
  throw new Interrupted("interrupted");
};

const ANEW = "all that there is:";

export const podChange = (event: PodWatchEvent): string => {
  if (event.type === "reset") return ANEW;
  const { id, role, service, state, pid, version } = event.pod;
  const of = [service === undefined ? role : `of ${service}`, ...(version === undefined ? [] : [version])].join(" ");
  return `${event.type} ${id} ${state}, ${of}, pid ${pid}`;
};

export const serviceChange = (event: ServiceWatchEvent): string => {
  if (event.type === "reset") return ANEW;
  const { spec, versions } = event.service;
  const each = versions.map(({ version, ready, desired, conditions }) => {
    const holds = conditions.map(({ type, reason }) => (type === "Ready" ? type : `${type}: ${oneLine(reason, 160)}`));
    return `${version} ${ready}/${desired} ${holds.join("; ")}`;
  });
  return `${event.type} ${spec.name}${each.length === 0 ? "" : `, ${each.join(", ")}`}`;
};
