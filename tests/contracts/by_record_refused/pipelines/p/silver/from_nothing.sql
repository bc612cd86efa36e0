SELECT kind AS id FROM reference.kinds
