"""The uniform_airflow strategy."""
