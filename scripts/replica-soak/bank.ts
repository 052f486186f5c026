/** The accounts of examples/accounts as the checkers take them: what each entry does to the balances, and what its caller is told. */
import type { Random } from "../../src/lib/random.ts";
import type { Model } from "../../src/testing/history-checker.ts";

export const ACCOUNTS = ["ann", "bob", "cem", "dot", "eve"] as const;
export const OPENED = 1_000;
export const MONEY = ACCOUNTS.length * OPENED;

/** In ten thousandths. */
const RATE = 12_500;

/** `payment` is the coordinator, whose transfer is one of its calls; all others are calls of the books themselves. */
export type Entry =
  | { do: "open"; account: string; amount: number }
  | { do: "transfer"; from: string; to: string; amount: number }
  | { do: "balance"; account: string }
  | { do: "total" }
  | { do: "payment"; from: string; to: string; amount: number; rate: number };

/** What a caller was told. */
export type Told = { value: unknown } | { failure: { code: string; message: string } };

/** Cents by account, in the order of their opening. */
export type Balances = ReadonlyMap<string, number>;

/** What the books refuse; any other failure of a call is the platform's. */
export const REFUSALS: ReadonlySet<string> = new Set(["ACCOUNT_EXISTS", "NO_ACCOUNT", "NOT_COVERED"]);

export const exchanged = ({ amount, rate }: { amount: number; rate: number }): number => Math.floor((amount * rate) / 10_000);

/** One entry, alone. */
export const enter = (balances: Balances, entry: Entry): { after: Balances; told: Told } => {
  switch (entry.do) {
    case "open":
      if (balances.has(entry.account)) return refused(balances, "ACCOUNT_EXISTS", `${entry.account} is open already`);
      return { after: new Map(balances).set(entry.account, entry.amount), told: { value: entry.amount } };
    case "balance": {
      const balance = balances.get(entry.account);
      return balance === undefined ? noAccount(balances, entry.account) : { after: balances, told: { value: balance } };
    }
    case "total":
      return { after: balances, told: { value: [...balances.values()].reduce((sum, balance) => sum + balance, 0) } };
    case "transfer":
      return transfer(balances, entry);
    case "payment": {
      const { after, told } = transfer(balances, { ...entry, amount: exchanged(entry) });
      return { after, told: "value" in told ? { value: { paid: exchanged(entry) } } : told };
    }
  }
};

const transfer = (balances: Balances, { from, to, amount }: { from: string; to: string; amount: number }): ReturnType<typeof enter> => {
  const before = balances.get(from);
  if (before === undefined) return noAccount(balances, from);
  if (before < amount) return refused(balances, "NOT_COVERED", `${from} has ${before} cents, not ${amount}`);
  if (from === to) return { after: balances, told: { value: before } };
  const there = balances.get(to);
  if (there === undefined) return noAccount(balances, to);
  const after = new Map(balances).set(from, before - amount).set(to, there + amount);
  return { after, told: { value: before - amount } };
};

const refused = (after: Balances, code: string, message: string): ReturnType<typeof enter> => ({
  after,
  told: { failure: { code, message } },
});

const noAccount = (after: Balances, account: string) => refused(after, "NO_ACCOUNT", `there is no account ${account}`);

export const isSame = (a: Told, b: Told): boolean => JSON.stringify(a) === JSON.stringify(b);

export const textOfBalances = (balances: Balances): string => [...balances].map(([account, cents]) => `${account} ${cents}`).join(", ");

/** All accounts are one state, so a history of them is linearizable or not as a whole. Without an answer, nothing is known of it. */
export const bankModel = (initial: Balances): Model<Balances, Entry, Told | undefined> => ({
  initial,
  apply: (balances, entry, told) => {
    const done = enter(balances, entry);
    // What changes nothing need not have happened.
    if (told === undefined) return done.after === balances ? undefined : done.after;
    return isSame(done.told, told) ? done.after : undefined;
  },
  describe: textOfBalances,
});

const one = (random: Random): string => ACCOUNTS[random.below(ACCOUNTS.length)]!;

/** Now and then one that can't be. */
export const drawEntry = (random: Random): Entry => {
  const drawn = random.below(100);
  if (drawn < 25) return { do: "balance", account: one(random) };
  if (drawn < 33) return { do: "total" };
  if (drawn < 45) return { do: "payment", from: one(random), to: one(random), amount: 1 + random.below(200), rate: RATE };
  if (drawn < 47) return { do: "open", account: one(random), amount: 1 };
  if (drawn < 50) return { do: "transfer", from: one(random), to: "nobody", amount: 1 };
  return { do: "transfer", from: one(random), to: one(random), amount: 1 + random.below(500) };
};
