import { loadText, manifestOf } from "./bundle.ts";
import { CoordinatorHost } from "./coordinator-host.ts";
import { FunctionHost, type Usage } from "./function-host.ts";
import { primeLiveness } from "./liveness.ts";
import { coordinatorsOf } from "./recovery.ts";

const BUNDLE = `
const { coordinator, fn } = require("lockstep");
exports.warmUp = fn("warm-up", async (input) => input);
exports.warmUpToo = coordinator("warm-up", async () => undefined);
`;

/**
 * Does once, with code of our own, what this pod will do when it is taken: load, make the hosts, execute a call. Node compiles functions when
 * they are called first, so that otherwise the first call would pay for it all. Tells nobody, and leaves nothing but compiled code behind.
 * @param path of some file of ours, for stacks
 */
export const warmUp = (path: string, usage: () => Usage): void => {
  primeLiveness();
  const application = loadText(BUNDLE, path);
  const limits = { maxPayloadBytes: 1_024, maxLogBytes: 1_024 };
  const { functions, tables, checks } = application;
  const host = new FunctionHost(functions, { ...limits, tables, checks }, usage, () => undefined);
  new CoordinatorHost(
    coordinatorsOf(application),
    { ...limits, tables },
    { send: () => undefined, schedule: () => undefined, executing: () => undefined },
  );
  host.invoke({ t: "invoke", lease: 1, fn: "warm-up", input: "{}", run: "run_00000000000", seq: 1, attempt: 1, timeoutMs: 1_000 });
  manifestOf(application);
};
