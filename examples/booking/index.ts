export { booking, type Order } from "./booking.ts";
export { bookFlight, bookHotel, cancelFlight, cancelHotel } from "./carriers.ts";
export { confirmOrder, releaseItem, selectItem, withdrawOrder } from "./orders.ts";
export { payment, refund } from "./payments.ts";
export { type Trip, trip } from "./trip.ts";
