/**
 * What clients have seen of the accounts, and whether it fits together.
 *
 * Two checks know nothing of each other: the search for any order that explains what was seen, and the order that the certificates state. The
 * first one needs nobody's word, and may take too long where many calls got no answer; the second one is a proof by itself where it holds.
 */
import { explain, type Operation } from "../../src/testing/history-checker.ts";
import { type Balances, bankModel, type Entry, enter, isSame, type Told, textOfBalances } from "./bank.ts";

/** A call as its caller has seen it. Times are of one monotonic clock. */
export interface Call extends Operation<Entry, Told | undefined> {
  /** Unknown where even the answer to the start was lost. */
  run?: string;
}

/** A call whose place in the order is certified. */
export interface Placed {
  operation: string;
  run: string;
  entry: Entry;
  told: Told;
  sequence: number;
  position: number;
}

const MOST_SHOWN = 12;
/** A few seconds. */
const MOST_STATES = 40_000;

/** Why what was seen can't be explained by calls that took effect one after the other, each between its beginning and its end. */
export const historyFaults = (initial: Balances, calls: readonly Call[]): string[] | "undecided" => {
  const verdict = explain(calls, bankModel(initial), MOST_STATES);
  if (verdict === undefined) return "undecided";
  if (verdict.ok) return [];
  const stuck = verdict.stuck.map(textOfCall).slice(0, MOST_SHOWN);
  const before = verdict.order.slice(-3).map(textOfCall);
  return [
    `what ${calls.length} calls have seen is not linearizable: after ${verdict.order.length} of them, the last ${before.join("; ")}, the accounts have ${verdict.state}, and none fits that may come next: ${stuck.join("; ")}`,
  ];
};

/** Why the order that certificates state is none in which these calls could have been executed, or not the one that their callers have seen. */
export const orderFaults = (
  initial: Balances,
  placed: readonly Placed[],
  calls: readonly Call[],
): { faults: string[]; after: Balances } => {
  const faults: string[] = [];
  const ordered = placed.toSorted((a, b) => a.sequence - b.sequence || a.position - b.position);
  let balances = initial;
  for (const [i, call] of ordered.entries()) {
    const { operation, entry, told, sequence, position } = call;
    const before = ordered[i - 1];
    if (before?.sequence === sequence && before.position === position)
      faults.push(`${before.operation} and ${operation} are both certified at ${sequence}/${position}`);
    const done = enter(balances, entry);
    if (!isSame(done.told, told))
      faults.push(
        `${operation}, at ${sequence}/${position}, is certified with ${JSON.stringify(told)}: after ${textOfBalances(balances)} it is ${JSON.stringify(done.told)}`,
      );
    balances = done.after;
  }
  return { faults: [...faults, ...seenFaults(ordered, calls), ...realTimeFaults(ordered, calls)], after: balances };
};

/** What a caller was told is certified. */
const seenFaults = (ordered: readonly Placed[], calls: readonly Call[]): string[] => {
  const toldOf = new Map(ordered.map(({ run, told }) => [run, told]));
  return calls.flatMap(({ run = "", input, output }) => {
    if (output === undefined) return [];
    const told = toldOf.get(run);
    // A payment tells what was paid, its transfer what is left.
    const isIt = told !== undefined && (isSame(told, output) || (input.do === "payment" && "value" in told && "value" in output));
    return isIt
      ? []
      : [`${run} was told ${JSON.stringify(output)}, and ${told === undefined ? "nothing" : JSON.stringify(told)} is certified`];
  });
};

/** A call that began after another one's end comes after it. */
const realTimeFaults = (ordered: readonly Placed[], calls: readonly Call[]): string[] => {
  const rankOf = new Map(ordered.map(({ run }, rank) => [run, rank]));
  const seen = calls.flatMap((call) => {
    const rank = call.run === undefined ? undefined : rankOf.get(call.run);
    return rank === undefined ? [] : [{ ...call, rank }];
  });
  const ended = seen.filter(({ maybe }) => maybe !== true).sort((a, b) => a.end - b.end);
  const faults: string[] = [];
  let next = 0;
  let latest: (typeof ended)[number] | undefined;
  for (const call of seen.toSorted((a, b) => a.begin - b.begin)) {
    for (; next < ended.length && ended[next]!.end < call.begin; next++) {
      if (latest === undefined || ended[next]!.rank > latest.rank) latest = ended[next]!;
    }
    if (latest !== undefined && latest.rank > call.rank)
      faults.push(`${call.run} began after the end of ${latest.run}, and is ordered before it`);
  }
  return faults;
};

const textOfCall = ({ caller, input, output, begin, end, maybe }: Operation<Entry, Told | undefined>): string => {
  const times = maybe === true ? `${begin.toFixed(1)}–?` : `${begin.toFixed(1)}–${end.toFixed(1)} ms`;
  return `${caller} ${times} ${JSON.stringify(input)} → ${output === undefined ? "?" : JSON.stringify(output)}`;
};
