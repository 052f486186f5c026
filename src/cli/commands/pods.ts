import type { Command } from "commander";
import type { PodWatchEvent } from "../../protocol/cluster.ts";
import { durationOption } from "../arguments.ts";
import { podChange, printChanges } from "../cluster-lines.ts";
import { EXIT } from "../exit-codes.ts";
import { withConnection } from "../options.ts";
import { duration } from "../text.ts";
import type { Does, Verb } from "../verb.ts";

export const podsVerb: Verb = (program, does) => {
  const pods = program.command("pods").description("look at the pods, and change how many there are");
  ls(pods, does);
  add(pods, does);
  rm(pods, does);
};

const ls = (pods: Command, does: Does): void => {
  withConnection(pods.command("ls", { isDefault: true }))
    .description("list the pods")
    .option("--service <name>", "only those of this service")
    .option("--watch", "go on with what changes, until interrupted")
    .action(
      does<[], { service?: string; watch?: boolean }>(async (context, _, { service, watch }) => {
        const { cluster } = await context.client();
        if (watch === true) {
          const isShown = (event: PodWatchEvent) => event.type === "reset" || service === undefined || event.pod.service === service;
          const events = cluster.watchPods({ signal: context.io.interrupted });
          return printChanges(context, events, (event) => (isShown(event) ? podChange(event) : undefined));
        }
        const all = await cluster.pods();
        const shown = service === undefined ? all : all.filter((pod) => pod.service === service);
        const now = context.io.clock.now();
        if (context.json) context.printJson({ pods: shown });
        else {
          context.printTable(
            shown,
            [
              { title: "POD", cell: (row) => row.id },
              { title: "ROLE", cell: (row) => row.role },
              { title: "SERVICE", cell: (row) => row.service },
              { title: "STATE", cell: (row) => row.state },
              { title: "CALLS", cell: (row) => `${row.inFlight}/${row.slots}`, right: true },
              { title: "MIB", cell: (row) => row.memoryMb, right: true },
              { title: "PID", cell: (row) => row.pid, right: true },
              { title: "AGE", cell: (row) => duration(Math.max(0, now - row.startedAt)), right: true },
              { title: "APPLICATION", cell: (row) => row.application },
              { title: "VERSION", cell: (row) => row.version },
            ],
            "there are no pods",
          );
        }
        return EXIT.ok;
      }),
    );
};

const add = (pods: Command, does: Does): void => {
  withConnection(pods.command("add"))
    .description("start one pod more for a service, until its policy decides otherwise")
    .argument("<service>", "by default the function's name")
    .action(
      does<[string], unknown>(async (context, [service]) => {
        const pod = await (await context.client()).cluster.createPod(service);
        if (context.json) context.printJson(pod);
        else context.print(`${pod.id} ${pod.state}\n`);
        return EXIT.ok;
      }),
    );
};

const rm = (pods: Command, does: Does): void => {
  withConnection(pods.command("rm"))
    .description("end a pod when it has finished what it executes; its service replaces it if it has to")
    .argument("<pod>", "such as pod-3")
    .option("--grace <duration>", "how long it may take to finish", "30s")
    .action(
      does<[string], { grace: string }>(async (context, [id], { grace }) => {
        const graceMs = durationOption("grace", grace);
        await (await context.client()).cluster.deletePod(id, graceMs === undefined ? {} : { graceMs });
        if (context.json) context.printJson({ id, state: "draining" });
        else context.print(`${id} draining\n`);
        return EXIT.ok;
      }),
    );
};
