-- Run once, when the database is made.
CREATE TABLE lists (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text NOT NULL, owner_id text NOT NULL);
CREATE PUBLICATION powersync FOR ALL TABLES;
CREATE DATABASE syncline ENCODING 'UTF8' TEMPLATE template0;
