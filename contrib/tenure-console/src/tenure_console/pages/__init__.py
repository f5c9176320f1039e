"""The pages: each module gathers what one kind of page shows, and a template in ``templates/`` says how it looks."""
