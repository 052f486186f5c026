import { FrameDecoder, FrameEncoder } from "../lib/frames.ts";
import type { FromPod, ToPod } from "../protocol/pod.ts";
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

const INVOKE: ToPod & { t: "invoke" } = {
  t: "invoke",
  lease: 1,
  fn: "warm-up",
  input: "{}",
  run: "run_00000000000",
  seq: 1,
  attempt: 1,
  timeoutMs: 1_000,
};

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
  const toControlPlane = new FrameEncoder<FromPod>();
  const host = new FunctionHost(functions, { ...limits, tables, checks }, usage, (reply) => toControlPlane.encode([reply]));
  new CoordinatorHost(
    coordinatorsOf(application),
    { ...limits, tables },
    { send: () => undefined, schedule: () => undefined, executing: () => undefined },
  );
  const received = new FrameDecoder<ToPod>().push(
    Buffer.concat(new FrameEncoder<ToPod>().encode([{ t: "load", version: "warm-up", path }, INVOKE])),
  );
  host.invoke(received[1] as typeof INVOKE);
  toControlPlane.encode([{ t: "loaded", version: "warm-up", manifest: manifestOf(application), ms: 0.5 }]);
};
