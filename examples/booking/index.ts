export { booking, type Order } from "./booking.ts";
export { bookFlight, bookHotel } from "./carriers.ts";
export { orderDelayed, orderStatus, takings, tellCustomer } from "./online-desk.ts";
export { onlineOrder, readOrder } from "./online-order.ts";
export { isPaid, payOrder } from "./online-payment.ts";
export { orders, receipts, type Standing, standings } from "./online-store.ts";
export { confirmOrder, selectItem } from "./orders.ts";
export { payment } from "./payments.ts";
export { type Trip, trip } from "./trip.ts";
