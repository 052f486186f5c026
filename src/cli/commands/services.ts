import type { Command } from "commander";
import { Option } from "commander";
import type { ServiceSpec, ServiceVersionView, ServiceView } from "../../protocol/cluster.ts";
import { durationOption, integerOption } from "../arguments.ts";
import { printChanges, serviceChange } from "../cluster-lines.ts";
import type { Context } from "../context.ts";
import { EXIT } from "../exit-codes.ts";
import { withConnection } from "../options.ts";
import { UsageError } from "../usage-error.ts";
import type { Does, Verb } from "../verb.ts";

export const servicesVerb: Verb = (program, does) => {
  const services = program.command("services").description("look at the services in front of functions' pods, and change them");
  ls(services, does);
  get(services, does);
  set(services, does);
  rm(services, does);
};

const ls = (services: Command, does: Does): void => {
  withConnection(services.command("ls", { isDefault: true }))
    .description("list the services")
    .option("--watch", "go on with what changes, until interrupted")
    .action(
      does<[], { watch?: boolean }>(async (context, _, { watch }) => {
        const { cluster } = await context.client();
        if (watch === true) return printChanges(context, cluster.watchServices({ signal: context.io.interrupted }), serviceChange);
        const all = await cluster.services();
        if (context.json) context.printJson({ services: all });
        else print(context, all);
        return EXIT.ok;
      }),
    );
};

const get = (services: Command, does: Does): void => {
  withConnection(services.command("get"))
    .description("print a service: what it should be, and what it is")
    .argument("<name>", "of the service; by default the function's")
    .action(
      does<[string], unknown>(async (context, [name]) => {
        show(context, await (await context.client()).cluster.service(name));
        return EXIT.ok;
      }),
    );
};

interface SetOptions {
  function?: string;
  pin?: string;
  replicas?: string;
  min?: string;
  max?: string;
  policy?: string;
  target?: string;
  coolDown?: string;
  memory?: string;
  concurrency?: string;
  env?: string[];
  ifVersion?: string;
}

const set = (services: Command, does: Does): void => {
  withConnection(services.command("set"))
    .description("create a service, or replace what it should be: options that are left out follow the function's definition")
    .argument("<name>", "of the service")
    .option("--function <name>", "whose pods it has; default: the function of the service's name")
    .option("--pin <version>", "only pods of this version of the application")
    .option("--replicas <number>", "always so many pods")
    .option("--min <number>", "pods that are there also without calls")
    .option("--max <number>", "never more pods")
    .addOption(new Option("--policy <policy>", "what decides the number").choices(["predictive", "threshold", "kpa", "hpa"]))
    .option("--target <duration>", "how long a call may take")
    .option("--cool-down <duration>", "without calls for so long, it goes back to the minimum")
    .option("--memory <MiB>", "heap of each pod")
    .option("--concurrency <number>", "calls that one pod executes at the same time")
    .option("--env <name=value...>", "variables of the pods' environment; no secrets, they are shown")
    .option("--if-version <number>", "only if it has this resource version; 0: is a default one")
    .action(
      does<[string], SetOptions>(async (context, [name], options) => {
        const ifVersion = integerOption("if-version", options.ifVersion, 0, Number.MAX_SAFE_INTEGER);
        const client = await context.client();
        show(context, await client.cluster.putService(specOf(name, options), ifVersion === undefined ? {} : { ifVersion }));
        return EXIT.ok;
      }),
    );
};

const rm = (services: Command, does: Does): void => {
  withConnection(services.command("rm"))
    .description("delete a service: its function has its default one again")
    .argument("<name>", "of the service")
    .option("--if-version <number>", "only if it has this resource version")
    .action(
      does<[string], Pick<SetOptions, "ifVersion">>(async (context, [name], options) => {
        const ifVersion = integerOption("if-version", options.ifVersion, 0, Number.MAX_SAFE_INTEGER);
        await (await context.client()).cluster.deleteService(name, ifVersion === undefined ? {} : { ifVersion });
        if (context.json) context.printJson({ name, deleted: true });
        else context.print(`${name} deleted\n`);
        return EXIT.ok;
      }),
    );
};

const MOST_PODS = 1_000;

const specOf = (name: string, options: SetOptions): ServiceSpec => {
  const scale = defined({
    min: integerOption("min", options.min, 0, MOST_PODS),
    max: integerOption("max", options.max, 1, MOST_PODS),
    policy: options.policy as "predictive" | undefined,
    targetMs: durationOption("target", options.target),
    coolDownMs: durationOption("cool-down", options.coolDown),
  });
  const spec = defined({
    version: options.pin,
    replicas: integerOption("replicas", options.replicas, 1, MOST_PODS),
    memoryMb: integerOption("memory", options.memory, 16, 1_048_576),
    concurrency: integerOption("concurrency", options.concurrency, 1, 10_000),
    environment: options.env === undefined ? undefined : Object.fromEntries(options.env.map(variable)),
  });
  return { name, function: options.function ?? name, ...spec, ...(Object.keys(scale).length === 0 ? {} : { scale }) };
};

/** @throws {UsageError} */
const variable = (text: string): [string, string] => {
  const at = text.indexOf("=");
  if (at < 1) throw new UsageError(`--env "${text}" is no variable`, "Write it like REGION=north.");
  return [text.slice(0, at), text.slice(at + 1)];
};

const defined = <T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never;

const print = (context: Context, services: readonly ServiceView[]): void => {
  const rows = services.flatMap((service) => service.versions.map((version) => ({ service, version })));
  context.printTable(
    rows,
    [
      { title: "SERVICE", cell: ({ service }) => service.spec.name },
      { title: "FUNCTION", cell: ({ service }) => service.spec.function },
      { title: "PODS", cell: ({ version }) => `${version.ready}/${version.desired}`, right: true },
      { title: "SCALE", cell: ({ service }) => scaleText(service.spec) },
      { title: "CONDITION", cell: ({ version }) => trouble(version), paint: (text) => context.style.yellow(text) },
      { title: "APPLICATION", cell: ({ service }) => service.application },
      { title: "VERSION", cell: ({ version }) => version.version },
    ],
    "there are no services: nothing is deployed",
  );
};

const scaleText = ({ replicas, scale }: ServiceSpec): string => {
  if (replicas !== undefined) return `${replicas} always`;
  return `${scale?.min ?? 0} to ${scale?.max ?? "?"} ${scale?.policy ?? ""}`.trimEnd();
};

const trouble = ({ conditions }: ServiceVersionView): string => {
  const types = conditions.map(({ type }) => type).filter((type) => type !== "Ready");
  return types.join(", ");
};

const show = (context: Context, service: ServiceView): void => {
  if (context.json) return context.printJson(service);
  const { spec, versions, resourceVersion } = service;
  const kind = service.default ? "default service" : `service, resource version ${resourceVersion},`;
  context.print(`${context.style.bold(spec.name)}: ${kind} of function ${spec.function}, application ${service.application}\n`);
  const pins = spec.version === undefined ? "" : `, version ${spec.version} only`;
  context.print(`pods: ${scaleText(spec)}; ${spec.memoryMb} MiB, ${spec.concurrency} calls each${pins}\n`);
  for (const [name, value] of Object.entries(spec.environment ?? {})) context.print(`env: ${name}=${value}\n`);
  for (const version of versions) {
    const { ready, desired, starting, draining, reason } = version;
    const counts = `${ready} of ${desired} ready, ${starting} starting, ${draining} draining`;
    context.print(`${version.version}${version.current ? " (current)" : ""}: ${counts}; ${reason}\n`);
    for (const condition of version.conditions) context.print(`  ${condition.type}: ${condition.reason}\n`);
  }
};
