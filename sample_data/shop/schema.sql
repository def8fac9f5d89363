create table products (id int primary key, name text not null, price_cents int not null);
insert into products select n, 'product ' || n, 500 + n * 37 % 9000 from generate_series(1, 200) n;
-- Large enough that a scan without the index costs a hundred milliseconds; most of it is of products no longer on sale.
create table stock_moves (id bigserial primary key, product_id int not null, quantity int not null,
                          moved_at timestamptz not null default now());
insert into stock_moves (product_id, quantity) select 1 + n % 10000, 1 + n % 5 from generate_series(1, 2000000) n;
create index stock_moves_by_product on stock_moves (product_id) include (quantity);
create table cart_items (user_id text, product_id int, quantity int not null, primary key (user_id, product_id));
create table orders (id bigserial primary key, user_id text not null, cents int not null);
create table payments (id bigserial primary key, user_id text not null, cents int not null);
create table shipments (order_id bigint primary key);
vacuum analyze;
