/** What happens in the demo, scene by scene. Each checks what it says. */
import type { Client, ClientRun } from "lockstep/client";
import { expect, expectEqual, until } from "./checks.ts";
import type { DemoPlatform } from "./platform.ts";
import type { Timeline } from "./timeline.ts";

type Trip = ClientRun<{ approvedBy: string; amount: number; flight: string; receipt: string }>;

const NIGHTS = 3;
/** A flight for 180 and three nights for 75. */
const AMOUNT = 405;
const TRIPS = 24;
const ROUNDS = 3;

const tripOf = (traveller: string) => ({ traveller, to: "Lisbon", nights: NIGHTS, card: "4242-4242", coolingOffMs: 400 });

const isWaiting = async (run: ClientRun<unknown>): Promise<true | undefined> => ((await run.get()).status === "waiting" ? true : undefined);

const failureOf = (promise: Promise<unknown>): Promise<{ code: string; message: string }> =>
  promise.then(
    (value) => ({ code: "", message: `it gave ${JSON.stringify(value)}` }),
    (error: { code: string; message: string }) => error,
  );

export const evaluate = async ({ scene, step, proven }: Timeline, client: Client): Promise<void> => {
  scene("Expressions: each operator is a durable call of a function, in a pod of its own");
  const value = await client.eval("((3+5)*(4/2))");
  expectEqual("((3+5)*(4/2))", value, 16);
  step(`((3+5)*(4/2)) = ${value}`);
  const second = await client.eval("(a+b)*2", { a: 1, b: 2 });
  expectEqual("(a+b)*2", second, 6);
  step(`(a+b)*2 with a=1, b=2 = ${second}`);
  const syntax = await failureOf(client.eval("1+"));
  expectEqual("the code of 1+", syntax.code, "EXPRESSION_INVALID");
  step(`1+  is refused: ${syntax.message}`);
  const division = await failureOf(client.eval("1/0"));
  expectEqual("the code of 1/0", division.code, "DIVISION_BY_ZERO");
  step(`1/0 fails: ${division.message}`, "a clear failure, not Infinity");
  proven("expressions run as graphs of durable calls, and wrong ones say what is wrong");
};

export const book = async ({ scene, step, proven }: Timeline, client: Client): Promise<Trip> => {
  scene("A coordinator: plain code that books, waits for a person, sleeps and pays");
  const run: Trip = await client.start("trip", tripOf("Ada"));
  step(`trip of Ada accepted as ${run.id}`, "the id was given out when the run was on disk");
  await until("the trip waits for its approval", () => isWaiting(run));
  step(
    "flight and hotel are booked, side by side; now it waits for the signal `approve`",
    "it may wait for days: then it is only rows in the journal",
  );
  await run.signal("approve", { approved: true, by: "Grace" });
  const { amount, approvedBy } = await run.result();
  expectEqual("what the trip cost", amount, AMOUNT);
  step(`approved by ${approvedBy}, slept 0.4 s, paid ${amount}`);

  const declined = await client.start("booking", { customer: "Ada", item: "museum", quantity: 2, card: "4000-0000" });
  expectEqual("the code of the declined booking", (await failureOf(declined.result())).code, "CARD_DECLINED");
  const journal = await declined.journal();
  const functions = journal.flatMap(({ t, fn }) => (t === "call" ? [fn] : []));
  const undone = journal.flatMap(({ t, seq }) => (t === "undo" ? [functions[-Number(seq) - 1]] : []));
  expectEqual("what was undone", undone, ["confirm-order", "select-item"]);
  step(`a booking with a declined card is undone: ${undone.join(", then ")}`, "compensation is code like the rest, and durable as well");
  proven("a coordinator waits for a signal and a timer, and undoes what it did when it fails");
  return run;
};

export const killPod = async ({ scene, step, proven }: Timeline, client: Client): Promise<Trip[]> => {
  scene(`kill -9 of a pod in the middle of ${TRIPS} runs`);
  // On a busy machine the kill may come when the calls, which take a tenth of a second, are over: then it is tried again.
  for (let left = ROUNDS; ; left--) {
    const [{ pid, at }, trips] = await Promise.all([killBusyPod(client, "book-flight"), startTrips(client)]);
    for (const trip of trips) await until("each trip gets its flight", () => isWaiting(trip));
    const journals = await Promise.all(trips.map((trip) => trip.journal()));
    const again = journals.flatMap((journal) => journal.filter((entry) => entry.t === "done" && Number(entry.attempt) > 1));
    if (again.length === 0 && left > 1) continue;
    expect(again.length > 0, "no call was lost with the pod, so the demo shows nothing");
    step(`${TRIPS} trips start; the pod of book-flight is killed (SIGKILL to ${pid}) while it executes ${again.length} of their calls`);
    step(
      `another pod has executed these calls again, the last ${Math.max(...again.map((entry) => entry.at)) - at} ms after the kill`,
      "a dead pod gives its calls back at once; nobody polls for it",
    );
    proven(`${again.length} calls survived the death of their pod: second attempts, under the same idempotency keys`);
    return trips;
  }
};

const startTrips = (client: Client): Promise<Trip[]> =>
  Promise.all(Array.from({ length: TRIPS }, (_, i): Promise<Trip> => client.start("trip", tripOf(`traveller ${i + 1}`))));

/** Waits until the pod of this role executes something, and kills it then. */
const killBusyPod = async (client: Client, role: string): Promise<{ pid: number; at: number }> => {
  const isBusy = (pod: { role: string; inFlight: number; pid: number }): boolean => pod.role === role && pod.inFlight > 1 && pod.pid > 0;
  const { pid } = await until(`the pod of ${role} is busy`, async () => (await client.pods()).find(isBusy));
  process.kill(pid, "SIGKILL");
  return { pid, at: Date.now() };
};

export const killControlPlane = async (
  { scene, step, proven }: Timeline,
  platform: DemoPlatform,
  trips: Trip[],
  ended: Trip,
): Promise<void> => {
  scene("kill -9 of the whole control plane in the middle of these runs");
  const before = await ended.outcome();
  const approved = trips.slice(0, TRIPS / 2);
  await Promise.all(approved.map((trip) => trip.signal("approve", { approved: true, by: "Grace" })));
  step(`${approved.length} trips are approved, and sleep or pay; ${trips.length - approved.length} still wait for their approval`);
  const journals = await Promise.all(trips.map((trip) => trip.journal()));
  const { pid } = platform;
  const { pods } = await platform.kill();
  step(`SIGKILL to the control plane (${pid}): it is gone, and its ${pods} pods ended with it`, "no process is left behind");

  const startMs = await platform.start([]);
  const recovered = await recoveredRuns(platform.client);
  step(`started again on the same folder: ready after ${Math.round(startMs)} ms, with ${recovered} unfinished runs`);
  expect(recovered > 0, "no run was unfinished, so the demo shows nothing");
  await Promise.all(trips.slice(approved.length).map((trip) => trip.signal("approve", { approved: true, by: "Linus" })));
  const results = await Promise.all(trips.map((trip) => trip.result({ timeoutMs: 10_000 })));
  for (const { amount } of results) expectEqual("what a trip cost", amount, AMOUNT);
  step(`all ${trips.length} trips have finished, each with its payment of ${AMOUNT}`);

  for (const [i, trip] of trips.entries()) checkJournal(await trip.journal(), journals[i] as unknown[]);
  step("every journal goes on where it stopped, with one committed outcome for each command", "what was done is not done again");
  expectEqual("the result of the first trip", await ended.outcome(), before);
  proven(`a killed control plane lost none of ${trips.length} runs, and changed no result that was there before`);
  proven("no process outlived it");
};

const recoveredRuns = async (client: Client): Promise<number> => {
  let recovered = 0;
  const given = AbortSignal.timeout(5_000);
  let lives = 0;
  for await (const event of client.events({ after: 0, types: ["platform.started"], signal: given })) {
    if (event.type === "platform.started") recovered = event.recovered;
    // The first life's start, and this one's.
    if (++lives === 2) break;
  }
  return recovered;
};

const checkJournal = (journal: readonly { t: string; seq?: number }[], before: readonly unknown[]): void => {
  expectEqual("the beginning of a journal", journal.slice(0, before.length), before);
  const done = journal.flatMap(({ t, seq }) => (t === "done" ? [seq] : []));
  expectEqual("the commands with an outcome", done, [...new Set(done)]);
};
