\set id random(1111001, 1111040)
SELECT id, title, status, amount FROM documents WHERE id = :id;
