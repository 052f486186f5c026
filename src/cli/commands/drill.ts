import { Argument } from "commander";
import type { Client } from "../../client/index.ts";
import { DRILLS, type Drill, type DrillKind, type FaultView } from "../../protocol/faults.ts";
import { durationOption } from "../arguments.ts";
import type { Context } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { faultHead } from "../fault-text.ts";
import { withConnection } from "../options.ts";
import { pauseUnlessInterrupted } from "../own-platform.ts";
import { reportOf } from "../report.ts";
import { duration } from "../text.ts";
import { UsageError } from "../usage-error.ts";
import type { Verb } from "../verb.ts";

interface Options {
  yes?: boolean;
  function?: string;
  timeout: string;
}

const POLL_MS = 50;
/** A slow pod that was taken for dead would have been by then. */
const AFTERWARDS_MS = 1_500;

const WARNINGS: Record<DrillKind, string> = {
  pod: "kills a pod with whatever it executes",
  hang: "stops the process of a pod",
  slow: "slows a pod down for some seconds",
  "control-plane": "kills the platform itself; unless `lockstep dev` runs it, somebody has to start it again",
  "replica-lie": "lets a replica vote for wrong results",
  "replica-crash": "kills a replica that follows the leader",
  "leader-crash": "kills the leader of a replica set",
  "leader-equivocate": "lets the leader of a replica set propose different things to different replicas",
  partition: "cuts a replica off from the others of its set",
};

export const drillVerb: Verb = (program, does) => {
  withConnection(program.command("drill"))
    .description("provoke a fault of a development platform on this machine, and tell how it was noticed and repaired")
    .addArgument(new Argument("<kind>", "what to provoke").choices(DRILLS))
    .option("--yes", "yes, break it")
    .option("--function <name>", "a pod, or a replica, of this function (default: the busiest pod, the newest replica set)")
    .option("--timeout <duration>", "wait so long for the repair (exit code 4)", "60s")
    .action(
      does<[DrillKind], Options>(async (context, [kind], options) => {
        if (options.yes !== true) throw new UsageError(`this ${WARNINGS[kind]}`, "Say --yes when that is what you want.");
        const timeoutMs = durationOption("timeout", options.timeout) as number;
        if (kind === "control-plane" && options.function !== undefined) {
          throw new UsageError("--function picks a pod, and the control plane is none", "Leave it out.");
        }
        // It has a patience of its own.
        const client = await context.client({ retryForMs: 0 });
        const drill = await client.drill({ kind, ...(options.function === undefined ? {} : { function: options.function }) });
        if (!context.json) announce(context, drill);
        const fault = await faultOf(context, client, drill, kind === "slow" ? (drill.lastsMs ?? 0) + AFTERWARDS_MS : timeoutMs);
        return tell(context, drill, fault);
      }),
    );
};

const DID: Record<DrillKind, string> = {
  pod: "killed",
  hang: "stopped",
  slow: "slowing down",
  "control-plane": "killed",
  "replica-lie": "lies from now on:",
  "replica-crash": "killed",
  "leader-crash": "killed",
  "leader-equivocate": "equivocates from now on:",
  partition: "cut off",
};

/** Whoever is asked nothing does no harm by a lie or by silence, and leaves no trace. */
const SHOWS_IN_CALLS: ReadonlySet<DrillKind> = new Set<DrillKind>(["replica-lie", "leader-equivocate", "partition"]);

const announce = ({ note }: Context, { kind, pod, function: role, pid, calls, restarts }: Drill): void => {
  const whose = pod === undefined ? `the control plane, process ${pid}` : `${pod} (${role}), process ${pid}`;
  note(`${DID[kind]} ${whose}, with ${calls} ${calls === 1 ? "call" : "calls"} under way`);
  if (SHOWS_IN_CALLS.has(kind) && calls === 0) note(`nobody can tell before the next call of ${role}; this waits for one`);
  if (kind !== "control-plane") return;
  const waits = "this waits for it";
  note(restarts === true ? `it begins anew by itself; ${waits}` : `start it again as it was started, on the same --data; ${waits}`);
};

/** The fault that the drill has brought about, repaired if it is in time. */
const faultOf = async (context: Context, client: Client, drill: Drill, timeoutMs: number): Promise<FaultView | undefined> => {
  const { clock } = context.io;
  const giveUpAt = clock.now() + timeoutMs;
  let seen: FaultView | undefined;
  while (seen?.repairedAt === undefined && clock.now() < giveUpAt) {
    await pauseUnlessInterrupted(context, POLL_MS);
    seen = (await faultsOf(client)).find((fault) => isOf(fault, drill)) ?? seen;
  }
  return seen;
};

const faultsOf = (client: Client): Promise<FaultView[]> =>
  client.faults(50).catch((error: unknown) => {
    // A control plane that was killed answers again when somebody has started it.
    if (reportOf(error).code === "NOT_CONNECTED" || reportOf(error).code === "SHUTTING_DOWN") return [];
    throw error;
  });

const isOf = (fault: FaultView, { kind, pod, at }: Drill): boolean =>
  fault.detectedAt >= at && (kind === "control-plane" ? fault.type === "IV" : fault.pod === pod);

const tell = (context: Context, drill: Drill, fault: FaultView | undefined): ExitCode => {
  const noticedMs = fault === undefined ? undefined : fault.detectedAt - drill.at;
  const repairedMs = fault?.repairedAt === undefined ? undefined : fault.repairedAt - drill.at;
  if (context.json) context.printJson({ drill, noticedMs, repairedMs, fault });
  else if (fault === undefined) showNothing(context, drill);
  else show(context, drill, fault, repairedMs);
  // Slow is not dead: there it is the fault that is none of the answers one hopes for.
  if (drill.kind === "slow") return fault === undefined ? EXIT.ok : EXIT.failed;
  return repairedMs === undefined ? EXIT.timedOut : EXIT.ok;
};

const showNothing = ({ print, note }: Context, { kind, pod, lastsMs = 0 }: Drill): void => {
  if (kind === "slow") print(`${pod} was slow for ${duration(lastsMs)} and not taken for dead\n`);
  else note("nothing was noticed in time");
};

const show = ({ print, note }: Context, { kind, pod, at }: Drill, fault: FaultView, repairedMs: number | undefined): void => {
  if (kind === "slow") note(`${pod} was only slow, and taken for dead`);
  print(`${faultHead(fault)}\n`);
  print(`  noticed after   ${duration(fault.detectedAt - at)}\n`);
  print(`  repaired after  ${repairedMs === undefined ? "not in time" : duration(repairedMs)}\n`);
  if (fault.did !== undefined) print(`  done            ${fault.did}\n`);
};
