/**
 * What user code in a replica is refused, since each replica would do it for itself and come to another answer: the network, other processes and
 * threads, signals.
 *
 * It is refused where Node's modules begin, to code that asks for it in good faith or by a library. It is no sandbox: code that looks for another
 * way finds one, and what it then learns from it differs, and is found by the votes.
 */
import childProcess from "node:child_process";
import dgram from "node:dgram";
import dns from "node:dns";
import { syncBuiltinESMExports } from "node:module";
import net from "node:net";
import workers from "node:worker_threads";
import { agreed, denied } from "./replica-agreed.ts";

type Some = Record<string, unknown>;
type Any = (this: unknown, ...given: unknown[]) => unknown;

const NETWORK = "what the network answers is not agreed on";
const PROCESSES = "each replica would have it for itself";

/** Refuses these to user code from here on; what this process does outside of operations and modules is not concerned. */
export const installDenied = (): void => {
  const { prototype: resolver } = dns.Resolver;
  const { prototype: promised } = dns.promises.Resolver;
  // HTTP and TLS begin here, too. Their modules take longer to load than all else, and most functions have no use for them.
  deny("node:net", net.Socket.prototype, ["connect"], NETWORK);
  deny("node:net", net.Server.prototype, ["listen"], NETWORK);
  deny("node:dgram", dgram.Socket.prototype, ["bind", "send", "connect"], NETWORK);
  for (const lookups of [dns, dns.promises, resolver, promised]) deny("node:dns", lookups, lookupsOf(lookups), NETWORK);
  deny("node:child_process", childProcess, Object.keys(childProcess).filter(isStart), PROCESSES);
  deny("node:child_process", childProcess.ChildProcess.prototype, ["spawn"], PROCESSES);
  deny("process", process, ["kill"], PROCESSES);
  for (const name of ["WebSocket", "EventSource"]) denyGlobal(name);
  const { Worker } = workers;
  Object.defineProperty(workers, "Worker", {
    value: new Proxy(Worker, guard("node:worker_threads' Worker", PROCESSES)),
    configurable: true,
    enumerable: true,
  });
  // Those who have imported a name get what it means now.
  syncBuiltinESMExports();
};

const isStart = (name: string): boolean => /^(spawn|exec|fork)/.test(name);

const lookupsOf = (lookups: object): string[] =>
  Object.getOwnPropertyNames(lookups).filter((name) => /^(lookup|resolve|reverse)/.test(name));

const deny = (module: string, on: object, names: readonly string[], why: string): void => {
  for (const name of names) {
    const real = (on as Some)[name];
    if (typeof real !== "function") continue;
    const guarded: Any = function (...given) {
      refuse(`${module}'s ${name}`, why);
      return Reflect.apply(real, this, given);
    };
    // What Node itself looks up on it, such as how it is made a promise of, stays.
    Object.defineProperties(guarded, Object.getOwnPropertyDescriptors(real));
    Object.defineProperty(on, name, { value: guarded, writable: true, configurable: true, enumerable: true });
  }
};

const guard = (what: string, why: string): ProxyHandler<new (...given: never[]) => object> => ({
  construct: (target, given, as) => {
    refuse(what, why);
    return Reflect.construct(target, given, as) as object;
  },
});

/** Node loads these when they are first looked at. */
const denyGlobal = (name: string): void => {
  const real = Object.getOwnPropertyDescriptor(globalThis, name);
  if (real === undefined) return;
  const refused = new Proxy(class {}, guard(name, NETWORK));
  Object.defineProperty(globalThis, name, {
    get: () => (agreed.getStore() === undefined ? (real.get === undefined ? real.value : real.get.call(globalThis)) : refused) as unknown,
    configurable: true,
  });
};

const refuse = (what: string, why: string): void => {
  if (agreed.getStore() !== undefined) throw denied(what, why);
};
