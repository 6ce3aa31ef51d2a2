"""Plans: settings declared once (`sections`), layered values (`draft`), and the rules that check them (`rules`)."""
