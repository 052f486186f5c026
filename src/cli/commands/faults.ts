import type { Client } from "../../client/index.ts";
import type { PlatformEvent } from "../../protocol/events.ts";
import type { FaultView } from "../../protocol/faults.ts";
import { integerOption } from "../arguments.ts";
import type { Context } from "../context.ts";
import { eventLine } from "../event-line.ts";
import { EXIT } from "../exit-codes.ts";
import { withConnection } from "../options.ts";
import { Interrupted } from "../report.ts";
import type { Column } from "../table.ts";
import { dateAndTime, duration, oneLine } from "../text.ts";
import type { Verb } from "../verb.ts";

interface Options {
  limit: string;
  follow?: boolean;
}

export const faultsVerb: Verb = (program, does) => {
  withConnection(program.command("faults"))
    .description("list what of the platform itself has failed, how fast it was noticed, and what was done")
    .option("--limit <number>", "at most so many, the newest", "20")
    .option("--follow", "go on with what comes, until interrupted")
    .action(
      does<[], Options>(async (context, _args, options) => {
        const client = await context.client();
        const limit = integerOption("limit", options.limit, 1, 1_000) as number;
        if (options.follow === true) return follow(context, client, limit);
        const faults = (await client.faults(limit)).reverse();
        if (context.json) context.printJson({ faults });
        else show(context, faults);
        return EXIT.ok;
      }),
    );
};

const columns = ({ style }: Context): Column<FaultView>[] => [
  { title: "AT", cell: (row) => dateAndTime(row.detectedAt) },
  { title: "TYPE", cell: (row) => row.type },
  { title: "WHAT", cell: (row) => (row.repeated === undefined ? row.what : `${row.what} ×${row.repeated + 1}`) },
  { title: "POD", cell: (row) => row.pod },
  { title: "OF", cell: (row) => row.function },
  { title: "LOST", cell: (row) => row.calls, right: true },
  { title: "NOTICED IN", cell: (row) => duration(row.detectionMs), right: true },
  {
    title: "REPAIRED IN",
    cell: (row) => (row.repairMs === undefined ? "not yet" : duration(row.repairMs)),
    right: true,
    paint: (text, row) => (row.repairMs === undefined ? style.red(text) : text),
  },
  { title: "DONE", cell: (row) => oneLine(row.did ?? row.detail, 100) },
];

/** Lists once nothing can be missed any more, and leaves out what was listed. @throws {Interrupted} */
const follow = async (context: Context, client: Client, limit: number): Promise<never> => {
  const listed = new Map<string, FaultView>();
  let isOpen: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => {
    isOpen = resolve;
  });
  const types = ["fault.detected", "fault.repaired"] as const;
  const events = client.events({ after: "latest", types, signal: context.io.interrupted, opened: isOpen });
  let next = events.next();
  await Promise.race([opened, next]);
  if (!context.json) {
    const faults = (await client.faults(limit)).reverse();
    for (const fault of faults) listed.set(fault.id, fault);
    show(context, faults);
  }
  for (let event = await next; event.done !== true; event = await next) {
    next = events.next();
    if (wasListed(event.value, listed)) continue;
    if (context.json) context.printJson(event.value);
    else context.print(eventLine(event.value, context.style) ?? "");
  }
  throw new Interrupted("interrupted");
};

const show = (context: Context, faults: readonly FaultView[]): void =>
  context.printTable(faults, columns(context), "nothing of the platform has failed");

const wasListed = (event: PlatformEvent, listed: ReadonlyMap<string, FaultView>): boolean => {
  if (event.type === "fault.detected") return listed.has(event.fault);
  return event.type === "fault.repaired" && listed.get(event.fault)?.repairedAt !== undefined;
};
