import { createRequire } from "node:module";
import { Command, CommanderError } from "commander";
import { applicationsVerb } from "./commands/applications.ts";
import { callVerb } from "./commands/call.ts";
import { checkVerb } from "./commands/check.ts";
import { deployVerb } from "./commands/deploy.ts";
import { devVerb } from "./commands/dev.ts";
import { doctorVerb } from "./commands/doctor.ts";
import { drillVerb } from "./commands/drill.ts";
import { evalVerb } from "./commands/eval.ts";
import { faultsVerb } from "./commands/faults.ts";
import { layersVerb } from "./commands/layers.ts";
import { logsVerb } from "./commands/logs.ts";
import { objectsVerb } from "./commands/objects.ts";
import { podsVerb } from "./commands/pods.ts";
import { replicasVerb } from "./commands/replicas.ts";
import { runVerb } from "./commands/run.ts";
import { runsVerb } from "./commands/runs.ts";
import { servicesVerb } from "./commands/services.ts";
import { startVerb } from "./commands/start.ts";
import { stateVerb } from "./commands/state.ts";
import { triggersVerb } from "./commands/triggers.ts";
import { verifyVerb } from "./commands/verify.ts";
import type { CommonOptions } from "./context.ts";
import { contextOf } from "./context.ts";
import type { ExitCode } from "./exit-codes.ts";
import { EXIT } from "./exit-codes.ts";
import type { Io } from "./io.ts";
import { errorText, exitCodeOf, Interrupted, reportOf } from "./report.ts";
import { styleOf } from "./style.ts";
import type { Does, Verb } from "./verb.ts";

const VERBS: readonly Verb[] = [
  devVerb,
  startVerb,
  deployVerb,
  checkVerb,
  evalVerb,
  callVerb,
  runVerb,
  runsVerb,
  logsVerb,
  applicationsVerb,
  podsVerb,
  servicesVerb,
  layersVerb,
  triggersVerb,
  stateVerb,
  objectsVerb,
  faultsVerb,
  replicasVerb,
  drillVerb,
  verifyVerb,
  doctorVerb,
];

const EXIT_CODES = `
Exit codes: 0 done; 1 the run failed or was refused; 2 wrong usage; 3 no platform answers;
            4 timed out; 130 interrupted.
`;

/** Does what the command line says, and tells with which code the process is to end. Never throws. */
export const runCli = async (argv: readonly string[], io: Io): Promise<ExitCode> => {
  let code: ExitCode = EXIT.ok;
  let invocation: { json: boolean; expression?: string } = { json: argv.includes("--json") };
  const does: Does =
    (handler) =>
    async (...given) => {
      const command = given.at(-1) as Command;
      const options = command.opts() as CommonOptions;
      invocation = { json: options.json === true, ...(command.name() === "eval" ? { expression: command.args[0] ?? "" } : {}) };
      code = (await handler(contextOf(io, options), command.processedArgs as never, options as never)) ?? EXIT.ok;
    };
  try {
    await programOf(io, does).parseAsync(argv, { from: "user" });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    if (!(error instanceof Interrupted)) report(io, error, invocation);
    return exitCodeOf(error);
  }
};

/** The commands, with `does` making the action of each. */
export const programOf = (io: Io, does: Does): Command => {
  const program = new Command("lockstep")
    .description("Durable functions and coordinators on a platform of your own.")
    .version(version(), "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .helpCommand("help [command]", "print the help of a command")
    .showHelpAfterError("(--help tells how it is used)")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
      getOutHelpWidth: () => io.stdout.columns,
      getErrHelpWidth: () => io.stderr.columns,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
      outputError: (text, write) => write(text.replace(/^error: /, `${styleOf(io.stderr, io.env).red("error USAGE:")} `)),
    })
    .addHelpText("after", EXIT_CODES);
  for (const verb of VERBS) verb(program, does);
  return program;
};

/** By the package's name: where this code is after it was bundled is the build's affair. */
const version = (): string => (createRequire(import.meta.url)("lockstep/package.json") as { version: string }).version;

/** To people on standard error, and with --json also to programs on standard output. */
const report = (io: Io, error: unknown, { json, expression }: { json: boolean; expression?: string }): void => {
  const told = reportOf(error);
  io.stderr.write(errorText(told, styleOf(io.stderr, io.env), expression));
  if (!json) return;
  const { code, message, mend, details } = told;
  io.stdout.write(`${JSON.stringify({ error: { code, message, mend, details } })}\n`);
};
