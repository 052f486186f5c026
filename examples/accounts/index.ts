/**
 * A bank whose books four replicas keep: one of them may crash, lie or be cut off, and no amount is lost, doubled or wrong.
 */
import { coordinator, fn, TerminalError } from "lockstep";

interface Books {
  /** Whole cents by account. */
  balances: Record<string, number>;
}

type Entry =
  | { do: "open"; account: string; amount: number }
  | { do: "transfer"; from: string; to: string; amount: number }
  | { do: "balance"; account: string }
  | { do: "total" };

/** All accounts are one state, so that a transfer between two of them is one operation. Its results have certificates. */
export const books = fn.stateful("books", {
  initial: (): Books => ({ balances: {} }),
  apply: ({ balances }, entry: Entry): { state: Books; value: number } => {
    switch (entry.do) {
      case "open": {
        if (Object.hasOwn(balances, entry.account)) throw refused("ACCOUNT_EXISTS", `${entry.account} is open already`);
        return { state: { balances: { ...balances, [entry.account]: cents(entry.amount) } }, value: entry.amount };
      }
      case "transfer": {
        const left = balanceOf(balances, entry.from) - cents(entry.amount);
        if (left < 0) throw refused("NOT_COVERED", `${entry.from} has ${left + entry.amount} cents, not ${entry.amount}`);
        if (entry.from === entry.to) return { state: { balances }, value: left + entry.amount };
        const gained = balanceOf(balances, entry.to) + entry.amount;
        return { state: { balances: { ...balances, [entry.from]: left, [entry.to]: gained } }, value: left };
      }
      case "balance":
        return { state: { balances }, value: balanceOf(balances, entry.account) };
      case "total":
        return { state: { balances }, value: Object.values(balances).reduce((sum, amount) => sum + amount, 0) };
    }
  },
});

const balanceOf = (balances: Books["balances"], account: string): number => {
  const balance = Object.hasOwn(balances, account) ? balances[account] : undefined;
  if (balance === undefined) throw refused("NO_ACCOUNT", `there is no account ${account}`);
  return balance;
};

const cents = (amount: number): number => {
  if (Number.isSafeInteger(amount) && amount >= 0) return amount;
  throw refused("AMOUNT_INVALID", `an amount is a whole number of cents, not ${amount}`);
};

const refused = (code: string, message: string): TerminalError => new TerminalError(message, { code });

/** Keeps no state, and its results are certified all the same: no single pod can make a rate up. */
export const exchange = fn(
  "exchange",
  ({ amount, rate }: { amount: number; rate: number }) => ({ amount: Math.floor((amount * rate) / 10_000) }),
  { trust: "quorum" },
);

/** Pays from one account to another in another currency. */
export const payment = coordinator("payment", async (ctx, order: { from: string; to: string; amount: number; rate: number }) => {
  const { amount } = await ctx.call(exchange, { amount: order.amount, rate: order.rate });
  await ctx.call(books, { do: "transfer", from: order.from, to: order.to, amount });
  return { paid: amount };
});
