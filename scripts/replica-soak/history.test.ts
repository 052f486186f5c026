import { expect, test } from "vitest";
import { seeded } from "../../src/lib/random.ts";
import { type Balances, drawEntry, type Entry, enter, type Told } from "./bank.ts";
import { type Call, historyFaults, orderFaults, type Placed } from "./history.ts";

const OPEN: Balances = new Map([
  ["ann", 100],
  ["bob", 50],
]);

const call = (begin: number, end: number, input: Entry, output: Told): Call => ({ caller: "a", input, output, begin, end });
const transfer = (begin: number, end: number, amount: number, left: number): Call =>
  call(begin, end, { do: "transfer", from: "ann", to: "bob", amount }, { value: left });
const balance = (begin: number, end: number, account: string, value: number): Call =>
  call(begin, end, { do: "balance", account }, { value });
const total = (begin: number, end: number, value: number): Call => call(begin, end, { do: "total" }, { value });
const unanswered = (begin: number, amount: number): Call => ({
  ...call(begin, Number.POSITIVE_INFINITY, { do: "transfer", from: "ann", to: "bob", amount }, { value: 0 }),
  output: undefined,
  maybe: true,
});

const isRight = (...calls: Call[]): boolean => historyFaults(OPEN, calls).length === 0;

test("transfers that overlap are right in either order", () => {
  expect(isRight(transfer(0, 9, 10, 70), transfer(1, 8, 20, 80), balance(10, 11, "bob", 80))).toBe(true);
  expect(isRight(transfer(0, 9, 10, 90), transfer(1, 8, 20, 70), total(2, 3, 150))).toBe(true);
});

test("a lost update is found", () => {
  expect(isRight(transfer(0, 9, 10, 90), transfer(1, 8, 20, 80))).toBe(false);
  expect(isRight(transfer(0, 1, 10, 90), balance(2, 3, "bob", 50))).toBe(false);
});

test("a stale read is found, and one that overlaps the transfer is none", () => {
  expect(isRight(transfer(0, 5, 10, 90), balance(6, 7, "ann", 100))).toBe(false);
  expect(isRight(transfer(0, 5, 10, 90), balance(4, 7, "ann", 100))).toBe(true);
  expect(isRight(transfer(0, 5, 10, 90), balance(1, 2, "ann", 90), balance(3, 4, "ann", 100))).toBe(false);
});

test("a transfer that was applied twice is found", () => {
  expect(isRight(transfer(0, 1, 10, 90), balance(2, 3, "ann", 80))).toBe(false);
  expect(isRight(transfer(0, 1, 10, 90), transfer(2, 3, 10, 70))).toBe(false);
});

test("money that comes from nowhere is found, also by one who looks between the two legs", () => {
  expect(isRight(transfer(0, 9, 10, 90), total(3, 4, 140))).toBe(false);
  expect(isRight(transfer(0, 9, 10, 90), balance(3, 4, "ann", 90), balance(5, 6, "bob", 50))).toBe(false);
});

test("a refusal is right only where the account doesn't cover it", () => {
  const refusal = (has: number): Call =>
    call(
      2,
      3,
      { do: "transfer", from: "ann", to: "bob", amount: 95 },
      { failure: { code: "NOT_COVERED", message: `ann has ${has} cents, not 95` } },
    );
  expect(isRight(transfer(0, 1, 10, 90), refusal(90))).toBe(true);
  expect(isRight(transfer(0, 1, 10, 90), refusal(80))).toBe(false);
  expect(isRight(refusal(100))).toBe(false);
});

test("a payment is the transfer of what the rate makes of it", () => {
  const payment = call(0, 1, { do: "payment", from: "ann", to: "bob", amount: 8, rate: 12_500 }, { value: { paid: 10 } });
  expect(isRight(payment, balance(2, 3, "bob", 60))).toBe(true);
  expect(isRight(payment, balance(2, 3, "bob", 58))).toBe(false);
});

test("a transfer without an answer may have happened once, late or never, and not twice", () => {
  expect(isRight(unanswered(0, 10), balance(5, 6, "ann", 100))).toBe(true);
  expect(isRight(unanswered(0, 10), balance(5, 6, "ann", 90))).toBe(true);
  expect(isRight(unanswered(0, 10), balance(5, 6, "ann", 100), balance(7, 8, "ann", 90))).toBe(true);
  expect(isRight(unanswered(0, 10), balance(5, 6, "ann", 90), balance(7, 8, "ann", 100))).toBe(false);
  expect(isRight(unanswered(0, 10), balance(5, 6, "ann", 80))).toBe(false);
  expect(isRight(unanswered(7, 10), balance(5, 6, "ann", 90))).toBe(false);
});

/** Calls of eight clients in a bank that does one after the other, now and then without an answer. */
const rightHistory = (seed: number, length: number): { calls: Call[]; placed: Placed[] } => {
  const random = seeded(seed);
  const freeAt = Array.from({ length: 8 }, () => 0);
  let balances: Balances = new Map([...OPEN, ["cem", 300], ["dot", 200], ["eve", 500]]);
  const calls: Call[] = [];
  const placed: Placed[] = [];
  for (let i = 0; i < length; i++) {
    const client = random.below(freeAt.length);
    // Not before the client's earlier call has ended.
    const at = Math.max(i * 10, freeAt[client]! + 1);
    if (at > i * 10) continue;
    const entry = drawEntry(random);
    const { after, told } = enter(balances, entry);
    balances = after;
    const times = { begin: Math.max(freeAt[client]! + 1, at - random.below(60)), end: at + random.below(60) };
    freeAt[client] = times.end;
    const lost = random.below(250) === 0;
    const run = `run-${i}`;
    calls.push({
      caller: `${client}`,
      input: entry,
      run,
      ...(lost ? { ...times, output: undefined, end: Number.POSITIVE_INFINITY, maybe: true } : { ...times, output: told }),
    });
    placed.push({ operation: `${run}/1/1`, run, entry, told, sequence: i >> 2, position: i % 4 });
  }
  return { calls, placed };
};

const INITIAL: Balances = new Map([...OPEN, ["cem", 300], ["dot", 200], ["eve", 500]]);

test.each([1, 2, 3, 4, 5])("a long right history with unanswered calls is explained, and its order is right (seed %i)", (seed) => {
  const { calls, placed } = rightHistory(seed, 2_000);
  expect(calls.filter(({ maybe }) => maybe === true).length).toBeGreaterThan(2);
  expect(historyFaults(INITIAL, calls)).toEqual([]);
  expect(orderFaults(INITIAL, placed, calls).faults).toEqual([]);
});

test.each([1, 2, 3, 4, 5])("one wrong answer in a long history is found (seed %i)", (seed) => {
  const { calls } = rightHistory(seed, 600);
  const i = calls.findIndex(({ output }, at) => at > 300 && output !== undefined && "value" in output && typeof output.value === "number");
  const wrong = calls.with(i, { ...calls[i]!, output: { value: (calls[i]!.output as { value: number }).value + 1 } });
  expect(historyFaults(INITIAL, wrong)).toHaveLength(1);
});

test("an order of certificates is refused that skips, doubles, contradicts or comes too late", () => {
  const entry = { do: "transfer", from: "ann", to: "bob", amount: 10 } as const;
  const at = (sequence: number, left: number, run = `run-${sequence}`): Placed => ({
    operation: `${run}/1/1`,
    run,
    entry,
    told: { value: left },
    sequence,
    position: 0,
  });
  expect(orderFaults(OPEN, [at(1, 90), at(2, 80)], []).faults).toEqual([]);
  expect(orderFaults(OPEN, [at(1, 90), at(2, 80)], []).after.get("bob")).toBe(70);
  expect(orderFaults(OPEN, [at(1, 90), at(3, 70)], []).faults).toEqual([
    expect.stringContaining('after ann 90, bob 60 it is {"value":80}'),
  ]);
  expect(orderFaults(OPEN, [at(1, 90), at(1, 80, "other")], []).faults).toEqual([expect.stringContaining("both certified at 1/0")]);
  const seen = [
    { ...transfer(5, 6, 10, 90), run: "run-1" },
    { ...transfer(1, 2, 10, 80), run: "run-2" },
  ];
  const [first, second] = [
    { ...seen[1]!, run: "run-1", output: { value: 90 } },
    { ...seen[0]!, run: "run-2", output: { value: 80 } },
  ];
  expect(orderFaults(OPEN, [at(1, 90), at(2, 80)], [first, second]).faults).toEqual([]);
  expect(orderFaults(OPEN, [at(1, 90)], [first, second]).faults).toEqual(['run-2 was told {"value":80}, and nothing is certified']);
  expect(orderFaults(OPEN, [at(1, 90), at(2, 80)], [{ ...first, output: { value: 91 } }]).faults).toEqual([
    'run-1 was told {"value":91}, and {"value":90} is certified',
  ]);
  expect(orderFaults(OPEN, [at(1, 90), at(2, 80)], seen).faults).toEqual(["run-1 began after the end of run-2, and is ordered before it"]);
});
