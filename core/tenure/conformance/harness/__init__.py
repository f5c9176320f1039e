"""What a rule is and what it may use: Rule, RuleContext, assertions, evidence, verdicts."""
