import type { Trigger } from "../../protocol/application.ts";
import { withConnection } from "../options.ts";
import { dateAndTime } from "../text.ts";
import type { Verb } from "../verb.ts";

export const triggersVerb: Verb = (program, does) => {
  withConnection(program.command("triggers"))
    .description("list what starts runs by itself: schedules, objects, webhooks, events")
    .action(
      does(async (context) => {
        const triggers = await (await context.client()).triggers();
        if (context.json) context.printJson({ triggers });
        else {
          context.printTable(
            triggers,
            [
              { title: "STARTS", cell: (row) => `${row.kind} ${row.name}` },
              { title: "ON", cell: (row) => describe(row.trigger) },
              { title: "NEXT", cell: (row) => (row.next === undefined ? "" : dateAndTime(row.next)) },
              { title: "LAST", cell: (row) => (row.last === undefined ? "" : dateAndTime(row.last.at)) },
              { title: "RUN", cell: (row) => row.last?.run ?? "" },
              { title: "APPLICATION", cell: (row) => row.application },
            ],
            "nothing starts runs by itself: no deployed definition has a trigger",
          );
        }
        return undefined;
      }),
    );
};

const describe = (trigger: Trigger): string => {
  if ("cron" in trigger) return `cron ${trigger.cron} ${trigger.timezone ?? "UTC"}`;
  if ("http" in trigger) return `${trigger.http.method ?? "POST"} /v1/hooks/${trigger.http.path}`;
  if ("stale" in trigger) return `stale ${trigger.stale}`;
  if ("event" in trigger) return `event ${[trigger.event].flat().join(", ")}${whereText(trigger.where)}`;
  const { bucket, prefix = "", suffix = "" } = trigger.object;
  return `object ${bucket}/${prefix}*${suffix}`;
};

const whereText = (where: Record<string, unknown> = {}): string =>
  Object.entries(where)
    .map(([path, value]) => ` ${path}=${String(value)}`)
    .join("");
