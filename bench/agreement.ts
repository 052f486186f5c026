/**
 * `node bench/agreement.ts [folder of another version]`: what a certified call costs in the code of its four replicas and their client alone, all in
 * one process: no sockets, no user code, no disk. The least of many batches, so that it is the same on a busy machine; and the size of replies.
 */
import { execFileSync } from "node:child_process";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { ClientEffect, ClientInput } from "../src/consensus/client-machine.ts";
import type { Effect, Input } from "../src/consensus/effects.ts";
import type { Reply } from "../src/consensus/messages.ts";
import type { FrameDecoder, FrameEncoder } from "../src/lib/frames.ts";
import { markdownTable } from "./lib/table.ts";

const BATCH = 125;
const BATCHES = 400;
const WARM_UP = 100;
const REPLICAS = 4;

const PARTS = ["replicas", "replies written", "client", "certificates"] as const;
type Part = (typeof PARTS)[number];
type Certified = ClientEffect & { t: "certified" };

const modulesOf = async (root: string) => {
  const load = (path: string) => import(pathToFileURL(resolve(root, "src", path)).href);
  return {
    ...((await load("consensus/machine.ts")) as typeof import("../src/consensus/machine.ts")),
    ...((await load("consensus/client-machine.ts")) as typeof import("../src/consensus/client-machine.ts")),
    ...((await load("consensus/canonical.ts")) as typeof import("../src/consensus/canonical.ts")),
    ...((await load("consensus/certificate.ts")) as typeof import("../src/consensus/certificate.ts")),
    ...((await load("replicas/node-crypto.ts")) as typeof import("../src/replicas/node-crypto.ts")),
    ...((await load("lib/frames.ts")) as typeof import("../src/lib/frames.ts")),
    // Versions of before wrote each certificate by itself.
    ...((await load("replicas/proofs.ts").catch(() => ({}))) as Partial<typeof import("../src/replicas/proofs.ts")>),
  };
};

type Modules = Awaited<ReturnType<typeof modulesOf>>;

/** Four replicas and their client; messages and answers of user code are delivered at once, in their order. */
class World {
  readonly spent: Record<Part, number> = { replicas: 0, "replies written": 0, client: 0, certificates: 0 };
  bytes = 0;
  certified = 0;
  readonly #replicas: InstanceType<Modules["Replica"]>[];
  readonly #client: InstanceType<Modules["ReplicaClient"]>;
  readonly #encoders: FrameEncoder<Reply>[];
  readonly #decoders: FrameDecoder<Reply>[];
  readonly #textOf: (effect: Certified) => unknown;
  #queue: (() => void)[] = [];
  #ended: string[] = [];
  #calls = 0;

  constructor(modules: Modules) {
    const { generateSecretKey, publicKeyOf, nodeCrypto, membershipText, Replica, ReplicaClient, Proofs, certificateText } = modules;
    const [admin, client] = [generateSecretKey(), generateSecretKey()];
    const secrets = Array.from({ length: REPLICAS }, generateSecretKey);
    const version = "0123456789abcdef";
    const names = { set: `bench/certified@${version}`, application: "bench", function: "certified", version };
    const membership = { ...names, epoch: 1, faults: 1, replicas: secrets.map(publicKeyOf), clients: [publicKeyOf(client)] };
    const certified = { membership, signature: nodeCrypto(admin).sign(membershipText(membership)) };
    const options = { membership: certified, admin: publicKeyOf(admin) };
    this.#replicas = secrets.map((secret, index) => new Replica({ ...options, index }, nodeCrypto(secret)));
    this.#client = new ReplicaClient({ membership: certified, key: publicKeyOf(client), session: 1 }, nodeCrypto(client));
    this.#encoders = secrets.map(() => new modules.FrameEncoder<Reply>());
    this.#decoders = secrets.map(() => new modules.FrameDecoder<Reply>());
    const proofs = Proofs === undefined ? undefined : new Proofs(nodeCrypto(client));
    this.#textOf = proofs === undefined ? ({ certificate }) => certificateText(certificate) : (effect) => proofs.of(effect);
    for (const [index, replica] of this.#replicas.entries()) this.#carryOut(index, replica.start(Date.now()));
    this.#carryOutClient(this.#client.start(Date.now()));
    this.#drain();
  }

  batch(): void {
    const operations = Array.from({ length: BATCH }, () => {
      return { id: `run_${String(this.#calls++).padStart(11, "0")}/1/1`, key: "", input: "1" };
    });
    this.#tell({ t: "submit", operations });
    this.#tell({ t: "settle", operations: this.#ended.splice(0) });
  }

  #tell(input: ClientInput): void {
    this.#carryOutClient(this.#timed("client", () => this.#client.step(input, Date.now())));
    this.#drain();
  }

  #drain(): void {
    while (this.#queue.length > 0) for (const deliver of this.#queue.splice(0)) deliver();
  }

  #timed<T>(part: Part, work: () => T): T {
    const startedAt = performance.now();
    const result = work();
    this.spent[part] += performance.now() - startedAt;
    return result;
  }

  #step(index: number, input: Input): void {
    this.#queue.push(() =>
      this.#carryOut(
        index,
        this.#timed("replicas", () => this.#replicas[index]!.step(input, Date.now())),
      ),
    );
  }

  #carryOut(from: number, effects: readonly Effect[]): void {
    for (const effect of effects) {
      if (effect.t === "send")
        for (const to of effect.to) this.#step(to, { t: "message", from, epoch: effect.epoch, message: effect.message });
      else if (effect.t === "snapshot") this.#step(from, { t: "snapshotted", seq: effect.seq, pages: [] });
      else if (effect.t === "reply") this.#reply(from, effect.reply);
      else if (effect.t === "execute") {
        this.#step(from, { t: "executed", seq: effect.seq, outcomes: effect.operations.map(() => '{"value":2}') });
      }
    }
  }

  #reply(from: number, reply: Reply): void {
    const [header, body] = this.#timed("replies written", () => this.#encoders[from]!.encode([reply]));
    this.bytes += body.length;
    this.#queue.push(() => {
      const heard = (): ClientEffect[] => {
        const [read] = this.#decoders[from]!.push(Buffer.concat([header, body]));
        return this.#client.step({ t: "reply", from, reply: read! }, Date.now());
      };
      this.#carryOutClient(this.#timed("client", heard));
    });
  }

  #carryOutClient(effects: readonly ClientEffect[]): void {
    for (const effect of effects) {
      if (effect.t === "send") for (const to of effect.to) this.#step(to, { t: "request", request: effect.request });
      else if (effect.t === "certified") {
        this.certified++;
        this.#ended.push(effect.operation);
        this.#timed("certificates", () => this.#textOf(effect));
      } else if (effect.t === "timer" && effect.timer === "flush") this.#queue.push(() => this.#tell({ t: "timer", timer: "flush" }));
    }
  }
}

const measure = async (root: string): Promise<string[]> => {
  const world = new World(await modulesOf(root));
  const least = PARTS.map(() => Number.POSITIVE_INFINITY);
  for (let i = 0; i < BATCHES; i++) {
    for (const part of PARTS) world.spent[part] = 0;
    world.bytes = 0;
    world.batch();
    if (i < WARM_UP) continue;
    for (const [at, part] of PARTS.entries()) least[at] = Math.min(least[at]!, (world.spent[part] * 1_000) / BATCH);
  }
  if (world.certified !== BATCH * BATCHES) throw new Error(`${world.certified} of ${BATCH * BATCHES} calls were certified`);
  return [root, ...least.map((us) => us.toFixed(1)), (world.bytes / BATCH).toFixed(0)];
};

const [first, ...others] = process.argv.slice(2);
if (first === "--measure") {
  console.log(JSON.stringify(await measure(others[0]!)));
  process.exit(0);
}
// Each in a process of its own: what V8 has learnt from one version must not serve, or harm, the other.
const roots = [resolve(import.meta.dirname, ".."), ...(first === undefined ? [] : [first, ...others])];
const rows = roots.map((root) => {
  return JSON.parse(execFileSync(process.execPath, [import.meta.filename, "--measure", root], { encoding: "utf8" })) as string[];
});
console.log(`Of one call among ${BATCH}, in µs\n`);
console.log(markdownTable(["version", ...PARTS, "bytes of replies"], rows));
